{{/* A worker's access to the backends, which the operator makes; its pods wait for it. Call with (list $ "component"). */}}
{{- define "vedette.backendsVolume" -}}
{{- $secret := dict "secretName" (printf "%s-%s-backends" (index . 0).Release.Name (index . 1)) -}}
{{- toJson (dict "name" "backends" "mount" "/run/vedette/backends" "source" (dict "secret" $secret)) -}}
{{- end }}

{{/* Deployment of a worker. Call with the dict of "vedette.pod", and replicas (none: left to an autoscaler). */}}
{{- define "vedette.worker" -}}
apiVersion: apps/v1
kind: Deployment
metadata: {{- include "vedette.metadata" (list .root .component .component) | nindent 2 }}
spec:
  {{- with .replicas }}
  replicas: {{ . }}
  {{- end }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxSurge: 1, maxUnavailable: 0}
  selector:
    matchLabels: {{- include "vedette.selector" (list .root .component) | nindent 6 }}
  template: {{- include "vedette.pod" . | nindent 4 }}
---
{{ include "vedette.serviceAccount" (list .root .component) }}
{{- end }}

{{/* Service of a component. Call with (list $ "component" its values' `service`). */}}
{{- define "vedette.service" -}}
{{- $service := index . 2 -}}
apiVersion: v1
kind: Service
metadata: {{- include "vedette.metadata" (list (index . 0) (index . 1) (index . 1)) | nindent 2 }}
  {{- with $service.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: {{ $service.type }}
  selector: {{- include "vedette.selector" (list (index . 0) (index . 1)) | nindent 4 }}
  ports:
    - {name: http, port: {{ $service.port }}, targetPort: http, protocol: TCP}
{{- end }}

{{/* Ingress of a component. Call with (list $ "component" its values). */}}
{{- define "vedette.ingress" -}}
{{- $component := index . 1 -}}
{{- $ingress := (index . 2).ingress -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{- include "vedette.metadata" (list (index . 0) $component $component) | nindent 2 }}
  {{- with $ingress.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with $ingress.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with $ingress.tlsSecret }}
  tls:
    - hosts: [{{ $ingress.host | quote }}]
      secretName: {{ . }}
  {{- end }}
  rules:
    - host: {{ $ingress.host | quote }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: {{ (index . 0).Release.Name }}-{{ $component }}
                port: {name: http}
{{- end }}
