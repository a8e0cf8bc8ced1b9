{{- define "shopset.selector" -}}
app.kubernetes.io/name: shopset
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "shopset.labels" -}}
{{ include "shopset.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
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
{{- end }}
