{{/* The release's name for its objects; short enough for what is appended to it and to its pods. */}}
{{- define "service.name" -}}
{{- $name := ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) -}}
{{- $name | trunc 45 | trimSuffix "-" -}}
{{- end }}

{{/* What tells the pods of a release from others; never changes. Takes (dict "root" $ "component" name-or-none). */}}
{{- define "service.selector" -}}
app.kubernetes.io/name: {{ .root.Chart.Name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* All labels; the version is that of the image. */}}
{{- define "service.labels" -}}
{{ include "service.selector" . }}
{{- with .root.Values.image.tag }}
app.kubernetes.io/version: {{ . | trunc 63 | trimSuffix "-" | trimSuffix "." | quote }}
{{- end }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "service.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ required "image.tag is missing: the build that is to be deployed, or image.digest" .tag }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "service.accountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "service.name" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end }}

{{/* Claims keep records when a pod goes, so that pods have to be told apart. */}}
{{- define "service.kind" -}}
{{ ternary "StatefulSet" "Deployment" (and .Values.persistence.enabled (include "service.records" . | eq "true")) }}
{{- end }}
