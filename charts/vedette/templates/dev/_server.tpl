{{/*
A server of one pod with one volume, its Service and its NetworkPolicy. Call with a dict:
  root, component, user, group, image, resources, storage, data (mount path), ports (name → number),
  env (list), probe (readiness), mounts (list of volumeMounts), volumes (list)
The servers write into their own root file system, so it is not read-only.
*/}}
{{- define "vedette.devServer" -}}
{{- $root := .root -}}
{{- $name := printf "%s-%s" $root.Release.Name .component -}}
apiVersion: apps/v1
kind: StatefulSet
metadata: {{- include "vedette.metadata" (list $root .component .component) | nindent 2 }}
spec:
  replicas: 1
  serviceName: {{ $name }}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Retain}
  selector:
    matchLabels: {{- include "vedette.selector" (list $root .component) | nindent 6 }}
  template:
    metadata:
      labels: {{- include "vedette.labels" (list $root .component) | nindent 8 }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: 60
      securityContext:
        runAsNonRoot: true
        runAsUser: {{ .user }}
        runAsGroup: {{ .group }}
        fsGroup: {{ .group }}
        fsGroupChangePolicy: OnRootMismatch
        seccompProfile: {type: RuntimeDefault}
      containers:
        - name: {{ .component }}
          image: {{ .image }}
          env: {{- toYaml .env | nindent 12 }}
          ports: {{- range $port, $number := .ports }}
            - {name: {{ $port }}, containerPort: {{ $number }}, protocol: TCP}
            {{- end }}
          readinessProbe: {{- toYaml .probe | nindent 12 }}
          resources: {{- toYaml .resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            runAsNonRoot: true
            capabilities: {drop: [ALL]}
          volumeMounts:
            - {name: data, mountPath: {{ .data }}}
            {{- toYaml .mounts | nindent 12 }}
      volumes: {{- toYaml .volumes | nindent 8 }}
  volumeClaimTemplates:
    - metadata: {name: data}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with $root.Values.dev.storageClassName }}
        storageClassName: {{ . }}
        {{- end }}
        resources: {requests: {storage: {{ .storage }}}}
---
apiVersion: v1
kind: Service
metadata: {{- include "vedette.metadata" (list $root .component .component) | nindent 2 }}
spec:
  selector: {{- include "vedette.selector" (list $root .component) | nindent 4 }}
  ports: {{- range $port, $number := .ports }}
    - {name: {{ $port }}, port: {{ $number }}, targetPort: {{ $port }}, protocol: TCP}
    {{- end }}
{{- if $root.Values.networkPolicy.enabled }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{- include "vedette.metadata" (list $root .component .component) | nindent 2 }}
spec:
  podSelector:
    matchLabels: {{- include "vedette.selector" (list $root .component) | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - namespaceSelector: {}
          podSelector:
            matchLabels: {app.kubernetes.io/part-of: vedette}
  egress: []
{{- end }}
{{- end }}
