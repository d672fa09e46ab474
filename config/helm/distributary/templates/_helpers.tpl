{{- define "distributary.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "distributary.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "distributary.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "distributary.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "distributary.selectorLabels" -}}
app.kubernetes.io/name: {{ include "distributary.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "distributary.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "distributary.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "distributary.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default (printf "%s-ffmpeg" .Chart.AppVersion) }}
{{- end }}

{{/* The secret with the environment, or nothing. */}}
{{- define "distributary.secret" -}}
{{- if .Values.secret.existing }}
{{- .Values.secret.existing }}
{{- else if .Values.secret.data }}
{{- include "distributary.fullname" . }}
{{- end }}
{{- end }}

{{/* Combinations of values that the schema cannot refuse. */}}
{{- define "distributary.check" -}}
{{- if and .Values.secret.existing .Values.secret.data }}
{{- fail "secret: set existing or data, not both" }}
{{- end }}
{{- if and .Values.admin.expose (not (include "distributary.secret" .)) }}
{{- fail "admin.expose needs a secret with DISTRIBUTARY_ADMIN_TOKEN: set secret.existing, or secret.data" }}
{{- end }}
{{- if and .Values.admin.expose .Values.secret.data (not .Values.secret.data.DISTRIBUTARY_ADMIN_TOKEN) }}
{{- fail "admin.expose needs DISTRIBUTARY_ADMIN_TOKEN in secret.data" }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.admin.expose) }}
{{- fail "serviceMonitor needs admin.expose: true, because Prometheus reads the admin API's /metrics" }}
{{- end }}
{{- if and .Values.networkPolicy.enabled .Values.hostNetwork }}
{{- fail "networkPolicy has no effect on pods on the network of their node: set hostNetwork: false" }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
{{- fail "ingress needs hosts" }}
{{- end }}
{{- if and .Values.cluster.tls.client (not .Values.cluster.tls.secret) }}
{{- fail "cluster.tls.client needs cluster.tls.secret" }}
{{- end }}
{{- end }}
