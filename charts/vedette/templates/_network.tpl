{{/*
Rules of a NetworkPolicy for places as in `networkPolicy.backends`; a place without networks and labels is every address.
Call with (list "to" or "from", places, protocols); no places make no rules.
*/}}
{{- define "vedette.places" -}}
{{- $way := index . 0 -}}
{{- $protocols := index . 2 -}}
{{- range index . 1 }}
{{- $peers := list -}}
{{- range .cidrs }}{{ $peers = append $peers (dict "ipBlock" (dict "cidr" .)) }}{{ end -}}
{{- if or .namespaceLabels .podLabels -}}
{{- $peer := dict -}}
{{- if .podLabels }}{{ $_ := set $peer "podSelector" (dict "matchLabels" .podLabels) }}{{ end -}}
{{- $selector := dict -}}
{{- if .namespaceLabels }}{{ $selector = dict "matchLabels" .namespaceLabels }}{{ end -}}
{{- $_ := set $peer "namespaceSelector" $selector -}}
{{- $peers = append $peers $peer -}}
{{- end -}}
{{- $ports := list -}}
{{- range $port := .ports }}{{ range $protocol := $protocols }}
{{- $ports = append $ports (dict "port" $port "protocol" $protocol) -}}
{{- end }}{{ end -}}
{{- $rule := dict -}}
{{- if $peers }}{{ $_ := set $rule $way $peers }}{{ end -}}
{{- if $ports }}{{ $_ := set $rule "ports" $ports }}{{ end }}
- {{ toJson $rule }}
{{- end }}
{{- end }}

{{/* Who may connect to a port of ours. Call with (list places port); no places: everybody. */}}
{{- define "vedette.clients" -}}
{{- $port := index . 1 -}}
{{- $places := index . 0 | default (list (dict)) -}}
{{- range $places }}
{{- include "vedette.places" (list "from" (list (merge (dict "ports" (list $port)) .)) (list "TCP")) }}
{{- end }}
{{- end }}

{{/* Who may read metrics. Call with (list $ port). Probes come from the node, which no policy keeps out. */}}
{{- define "vedette.metricsClients" -}}
{{- $root := index . 0 -}}
{{- $port := index . 1 -}}
{{- if $root.Values.networkPolicy.metricsFrom -}}
{{ include "vedette.clients" (list $root.Values.networkPolicy.metricsFrom $port) }}
{{- else }}
- {from: [{namespaceSelector: {}}], ports: [{port: {{ $port }}, protocol: TCP}]}
{{- end }}
{{- end }}

{{/*
A NetworkPolicy of a component. Call with a dict:
  root, component, ingress (rules as text), reach (names of the lists under networkPolicy that it may connect to)
*/}}
{{- define "vedette.networkPolicy" -}}
{{- $root := .root -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {{- include "vedette.metadata" (list $root .component .component) | nindent 2 }}
spec:
  podSelector:
    matchLabels: {{- include "vedette.selector" (list $root .component) | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress: {{- .ingress | nindent 4 }}
  {{- if .reach }}
  egress: {{- include "vedette.places" (list "to" $root.Values.networkPolicy.dns (list "UDP" "TCP")) | nindent 4 }}
    {{- range $name := .reach }}
    {{- include "vedette.places" (list "to" (get $root.Values.networkPolicy $name) (list "TCP")) | nindent 4 }}
    {{- end }}
  {{- else }}
  egress: []
  {{- end }}
{{- end }}
