{{/* Labels of an object. Call with (list $ "component"). */}}
{{- define "vedette.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{ include "vedette.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: vedette
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end }}

{{/* Labels that select a component's pods; they never change. Call with (list $ "component"). */}}
{{- define "vedette.selector" -}}
app.kubernetes.io/name: vedette-{{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
vedette.dev/component: {{ index . 1 }}
{{- end }}

{{/* Name and labels of an object of a component. Call with (list $ "component" "name behind the release's"). */}}
{{- define "vedette.metadata" -}}
name: {{ (index . 0).Release.Name }}-{{ index . 2 }}
namespace: {{ (index . 0).Release.Namespace }}
labels: {{- include "vedette.labels" (list (index . 0) (index . 1)) | nindent 2 }}
{{- end }}

{{/* The same for objects without a namespace. */}}
{{- define "vedette.clusterMetadata" -}}
name: {{ (index . 0).Release.Name }}-{{ index . 2 }}
labels: {{- include "vedette.labels" (list (index . 0) (index . 1)) | nindent 2 }}
{{- end }}

{{/* The image, with digest or tag. */}}
{{- define "vedette.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{/* Name of the Secret with the operator's own access to the backends. */}}
{{- define "vedette.operatorBackends" -}}
{{ .Values.backends.existingSecret | default (printf "%s-operator-backends" .Release.Name) }}
{{- end }}

{{/* Address that people type for the pages. */}}
{{- define "vedette.publicUrl" -}}
{{- $ingress := .Values.web.ingress -}}
{{- if .Values.web.publicUrl -}}
{{ .Values.web.publicUrl }}
{{- else if $ingress.enabled -}}
{{ ternary "https" "http" (ne $ingress.tlsSecret "") }}://{{ $ingress.host }}
{{- else -}}
http://127.0.0.1:8420
{{- end -}}
{{- end }}

{{/* A ServiceAccount's name as the API server writes it. Call with (list $ "component"). */}}
{{- define "vedette.user" -}}
system:serviceaccount:{{ (index . 0).Release.Namespace }}:{{ (index . 0).Release.Name }}-{{ index . 1 }}
{{- end }}

{{/* A ServiceAccount. Call with (list $ "component"). */}}
{{- define "vedette.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "vedette.metadata" (list (index . 0) (index . 1) (index . 1)) | nindent 2 }}
automountServiceAccountToken: false
{{- end }}

{{/* A PodDisruptionBudget that keeps one pod. Call with (list $ "component"). */}}
{{- define "vedette.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "vedette.metadata" (list (index . 0) (index . 1) (index . 1)) | nindent 2 }}
spec:
  minAvailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "vedette.selector" (list (index . 0) (index . 1)) | nindent 6 }}
{{- end }}
