{{- define "shopset.selector" -}}
app.kubernetes.io/name: shopset
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "shopset.labels" -}}
{{ include "shopset.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "shopset.fleet" -}}
{{ .Values.fleet.namespace | default .Release.Namespace }}
{{- end }}

{{- define "shopset.serviceAccount" -}}
- kind: ServiceAccount
  name: shopset-controller
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "shopset.edgeSelector" -}}
app.kubernetes.io/name: shopset-edge
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "shopset.edgeLabels" -}}
{{ include "shopset.edgeSelector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Where the Pods of a workload go: `on` is what the values say, `selector` are the Pods' own labels. */}}
{{- define "shopset.scheduling" -}}
topologySpreadConstraints:
{{- with .on.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- .selector | nindent 8 }}
{{- end }}
{{- with .on.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .on.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .on.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .on.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end }}

{{/* The labels and annotations of a workload's Pods. */}}
{{- define "shopset.podMetadata" -}}
labels:
  {{- .selector | nindent 2 }}
  {{- with .on.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .on.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What an endpoint of a ServiceMonitor has beside its port: `on` are the values of the ServiceMonitors. */}}
{{- define "shopset.scrape" -}}
{{- with .on.interval }}
interval: {{ . }}
{{- end }}
{{- with .on.scrapeTimeout }}
scrapeTimeout: {{ . }}
{{- end }}
relabelings:
  - targetLabel: job
    replacement: {{ .job }}
  {{- with .on.relabelings }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .on.metricRelabelings }}
metricRelabelings: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The groups of a file of rules, with whole URLs of runbooks where the values say what they begin with. */}}
{{- define "shopset.ruleGroups" -}}
{{- $text := .chart.Files.Get (printf "files/monitoring/%s" .file) }}
{{- with .chart.Values.monitoring.rules.runbooks }}
{{- $text = $text | replace "runbook_url: " (printf "runbook_url: %s" .) }}
{{- end }}
{{- ($text | fromYaml).groups | toYaml }}
{{- end }}
