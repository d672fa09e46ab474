{{/* The keys of the configuration that values set. */}}
{{- define "distributary.environment" -}}
{{- $ports := .Values.ports -}}
- { name: DISTRIBUTARY_RTMP, value: "[::]:{{ $ports.rtmp }}" }
- { name: DISTRIBUTARY_HTTP, value: "[::]:{{ $ports.http }}" }
- { name: DISTRIBUTARY_WEBRTC, value: "[::]:{{ $ports.media }}" }
- { name: DISTRIBUTARY_ADMIN, value: "{{ .Values.admin.expose | ternary "[::]" "127.0.0.1" }}:{{ $ports.admin }}" }
- name: DISTRIBUTARY_ADVERTISE
  value: {{ join "," .Values.advertise | quote }}
- { name: DISTRIBUTARY_DRAIN_TIMEOUT, value: "{{ .Values.drain.timeoutSeconds }}s" }
{{- if .Values.tls.https }}
- { name: DISTRIBUTARY_HTTPS_LISTEN, value: "[::]:{{ $ports.https }}" }
- { name: DISTRIBUTARY_HTTPS_CERTIFICATE, value: /run/tls/https/tls.crt }
- { name: DISTRIBUTARY_HTTPS_KEY, value: /run/tls/https/tls.key }
{{- end }}
{{- if .Values.tls.rtmps }}
- { name: DISTRIBUTARY_RTMPS_LISTEN, value: "[::]:{{ $ports.rtmps }}" }
- { name: DISTRIBUTARY_RTMPS_CERTIFICATE, value: /run/tls/rtmps/tls.crt }
- { name: DISTRIBUTARY_RTMPS_KEY, value: /run/tls/rtmps/tls.key }
{{- end }}
{{- with .Values.cluster }}
{{- if .nats }}
- name: DISTRIBUTARY_CLUSTER_NATS
  value: {{ join "," .nats | quote }}
- { name: DISTRIBUTARY_CLUSTER_NAME, value: {{ .name | quote }} }
- { name: DISTRIBUTARY_CLUSTER_ZONE, value: {{ .zone | quote }} }
# The same after a restart, unlike the name of the host, which is that of the node.
- { name: DISTRIBUTARY_CLUSTER_NODE, value: $(POD_NAME) }
{{- with .publicUrl }}
- { name: DISTRIBUTARY_CLUSTER_PUBLIC_URL, value: {{ . | quote }} }
{{- end }}
{{- if .tls.secret }}
- { name: DISTRIBUTARY_CLUSTER_CA, value: /run/tls/nats/ca.crt }
{{- end }}
{{- if .tls.client }}
- { name: DISTRIBUTARY_CLUSTER_CERTIFICATE, value: /run/tls/nats/tls.crt }
- { name: DISTRIBUTARY_CLUSTER_KEY, value: /run/tls/nats/tls.key }
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* The secrets with certificates, by name of their folder. */}}
{{- define "distributary.certificates" -}}
https: {{ .Values.tls.https | quote }}
rtmps: {{ .Values.tls.rtmps | quote }}
nats: {{ .Values.cluster.nats | empty | ternary "" .Values.cluster.tls.secret | quote }}
{{- end }}

{{- define "distributary.mounts" -}}
{{- range $folder, $secret := include "distributary.certificates" . | fromYaml }}
{{- if $secret }}
- { name: tls-{{ $folder }}, mountPath: /run/tls/{{ $folder }}, readOnly: true }
{{- end }}
{{- end }}
{{- end }}

{{- define "distributary.volumes" -}}
{{- range $folder, $secret := include "distributary.certificates" . | fromYaml }}
{{- if $secret }}
- name: tls-{{ $folder }}
  secret: { secretName: {{ $secret | quote }}, defaultMode: 0440 }
{{- end }}
{{- end }}
{{- end }}
