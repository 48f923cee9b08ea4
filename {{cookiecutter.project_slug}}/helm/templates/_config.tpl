{{/* The project's config.yaml, as it is. */}}
{{- define "service.configFile" -}}
{{- $file := required "the chart has no config.yaml: deploy build/chart, which `make chart` makes" (.Files.Get "files/config.yaml") -}}
{{- with (fromYaml $file).Error }}{{ fail (printf "config.yaml is no YAML: %s" .) }}{{ end -}}
{{- $file -}}
{{- end }}

{{/* One of its values, with `config` laid over it, as text. Takes (list $ section-or-nothing key default). */}}
{{- define "service.setting" -}}
{{- $root := index . 0 -}}
{{- $before := fromYaml (include "service.configFile" $root) -}}
{{- $over := $root.Values.config -}}
{{- with index . 1 -}}
{{- $before = get $before . | default dict -}}
{{- $over = get $over . | default dict -}}
{{- end -}}
{{- $key := index . 2 -}}
{{- $value := ternary (get $before $key) (index . 3) (hasKey $before $key) -}}
{{- include "service.text" (ternary (get $over $key) $value (hasKey $over $key)) -}}
{{- end }}

{{/* A value as a variable has it: lists with commas, whole numbers without an exponent, nothing for null. */}}
{{- define "service.text" -}}
{{- if kindIs "slice" . -}}
{{- $parts := list -}}
{{- range . }}{{ $parts = append $parts (include "service.text" .) }}{{ end -}}
{{- join "," $parts -}}
{{- else if kindIs "float64" . -}}
{{- if eq (floor .) . }}{{ printf "%.0f" . }}{{ else }}{{ . }}{{ end -}}
{{- else if not (kindIs "invalid" .) -}}
{{- . -}}
{{- end -}}
{{- end }}

{{/* `config`, as YAML, with what the image would set otherwise; without workers there are no jobs. */}}
{{- define "service.overlay" -}}
{{- $port := include "service.setting" (list . "api" "port" 8000) -}}
{{- $over := mergeOverwrite (deepCopy .Values.config) (dict "api" (dict "port" $port)) -}}
{{- if not .Values.worker.enabled }}{{ $over = mergeOverwrite $over (dict "jobs" (dict "broker" "")) }}{{ end -}}
{{- toYaml $over -}}
{{- end }}

{{/* It as variables of a container. Takes (dict "prefix" "SERVICE" "values" map). */}}
{{- define "service.variables" -}}
{{- range $key, $value := .values }}
{{- $name := printf "%s__%s" $.prefix (upper $key) }}
{{- if kindIs "map" $value }}
{{- include "service.variables" (dict "prefix" $name "values" $value) }}
{{- else }}
- name: {{ $name }}
  value: {{ include "service.text" $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Whether predictions are recorded; whether anything needs the database. */}}
{{- define "service.records" -}}
{{ ne "" (include "service.setting" (list . "records" "sinks" (list "database"))) }}
{{- end }}

{{- define "service.usesDatabase" -}}
{{ or .Values.worker.enabled (contains "database" (include "service.setting" (list . "records" "sinks" (list "database")))) }}
{{- end }}

{{- define "service.shipsApart" -}}
{{ and (eq "true" (include "service.records" .)) (eq "separate" (include "service.setting" (list . "records" "shipping" "with_service"))) }}
{{- end }}

{{/* The port of a URL, or its scheme's. */}}
{{- define "service.urlPort" -}}
{{- $url := urlParse . -}}
{{- $ports := dict "postgresql" "5432" "amqp" "5672" "amqps" "5671" "redis" "6379" "rediss" "6379" -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (get $ports (splitList "+" $url.scheme | first)) -}}
{{- end }}

{{- define "service.databaseURL" -}}
{{ include "service.setting" (list . "database" "url" "sqlite:///var/records.db") }}
{{- end }}

{{- define "service.brokerURL" -}}
{{ include "service.setting" (list . "jobs" "broker" "filesystem://var/jobs/messages") }}
{{- end }}

{{/* The queue of small jobs, or that of others. Takes (list $ "jobs" or "jobs.bulk"). */}}
{{- define "service.queue" -}}
{{ include "service.setting" (list (index . 0) "" "name" "") }}.{{ index . 1 }}
{{- end }}

{{/* A rule of a NetworkPolicy. Takes (dict "to" peers "port" text). */}}
{{- define "service.egress" -}}
- ports: [{ protocol: TCP, port: {{ .port }} }]
  {{- with .to }}
  to: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
