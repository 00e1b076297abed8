{{/*
The template of a component's pods: one restricted container. Call with a dict:
  root, component, args, resources,
  ports (name → number), probes (name of the port, scheme), token (whether it may ask the API server),
  volumes (list of dicts: name, mount, source), grace (seconds), annotations
*/}}
{{- define "vedette.pod" -}}
{{- $root := .root -}}
{{- $pods := $root.Values.pods -}}
metadata:
  labels: {{- include "vedette.labels" (list $root .component) | nindent 4 }}
    {{- with $pods.labels }}{{ toYaml . | nindent 4 }}{{ end }}
  {{- with merge (dict) (.annotations | default dict) $pods.annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ $root.Release.Name }}-{{ .component }}
  automountServiceAccountToken: {{ .token | default false }}
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .grace | default 30 }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets: {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- with $pods.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pods.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pods.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $pods.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "vedette.selector" (list $root .component) | nindent 10 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: {{ .component }}
      image: {{ include "vedette.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: {{- toYaml .args | nindent 8 }}
      env:
        - {name: VEDETTE_LOG_LEVEL, value: {{ $root.Values.logs.level }}}
        - {name: VEDETTE_LOG_FORMAT, value: {{ $root.Values.logs.format }}}
      {{- with .ports }}
      ports: {{- range $name, $port := . }}
        - {name: {{ $name }}, containerPort: {{ $port }}, protocol: TCP}
        {{- end }}
      {{- end }}
      {{- with .probes }}
      livenessProbe:
        httpGet: {path: /livez, port: {{ .port }}, scheme: {{ .scheme }}}
        initialDelaySeconds: 10
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: {{ .port }}, scheme: {{ .scheme }}}
        periodSeconds: 5
        timeoutSeconds: 5
        failureThreshold: 3
      {{- end }}
      {{- with .resources }}
      resources: {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        runAsNonRoot: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- range .volumes }}
        - {name: {{ .name }}, mountPath: {{ .mount }}{{ if not (hasKey .source "emptyDir") }}, readOnly: true{{ end }}}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 64Mi}
    {{- range .volumes }}
    - name: {{ .name }}
      {{- toYaml .source | nindent 6 }}
    {{- end }}
{{- end }}
