{{/* Parts of pods. They run without rights, on a root file system that nobody writes, as the image's user. */}}
{{- define "service.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What all containers of the project share. Takes (dict "root" $ "config" name-of-the-ConfigMap). */}}
{{- define "service.container" -}}
image: {{ include "service.image" .root | quote }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
env:
  {{- include "service.variables" (dict "prefix" "SERVICE" "values" (fromYaml (include "service.overlay" .root))) | trim | nindent 2 }}
  {{- if .root.Values.secrets }}
  - name: SERVICE_SECRETS_DIR
    value: /run/secrets/service
  {{- end }}
  {{- with .root.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumeMounts:
  - name: config
    mountPath: /app/config.yaml
    subPath: config.yaml
    readOnly: true
  {{- if .root.Values.secrets }}
  - name: secrets
    mountPath: /run/secrets/service
    readOnly: true
  {{- end }}
  - name: var
    mountPath: /app/var
  - name: tmp
    mountPath: /tmp
  {{- if and .sharesFiles (include "service.claim" .root) }}
  - name: jobs
    mountPath: /app/{{ include "service.setting" (list .root "jobs" "storage" "var/jobs/files") }}
  {{- end }}
{{- end }}

{{/* The volumes of those mounts. Takes (dict "root" $ "config" name "keepsVar" whether a claim is `var` "sharesFiles" bool). */}}
{{- define "service.volumes" -}}
- name: config
  configMap: { name: {{ .config }} }
{{- with .root.Values.secrets }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range . }}
      - secret:
          name: {{ .name }}
          {{- with .keys }}
          items:
            {{- range $variable, $key := . }}
            - { key: {{ $key | quote }}, path: {{ $variable | quote }} }
            {{- end }}
          {{- end }}
      {{- end }}
{{- end }}
- name: tmp
  emptyDir: {}
{{- if not .keepsVar }}
- name: var
  emptyDir: {}
{{- end }}
{{- if and .sharesFiles (include "service.claim" .root) }}
- name: jobs
  persistentVolumeClaim: { claimName: {{ include "service.claim" .root }} }
{{- end }}
{{- end }}

{{/* The claim that all pods share; empty for none. */}}
{{- define "service.claim" -}}
{{- if .Values.worker.enabled -}}
{{- .Values.jobsStorage.existingClaim | default (ternary (printf "%s-jobs" (include "service.name" .)) "" .Values.jobsStorage.create) -}}
{{- end -}}
{{- end }}

{{/* Ships until the other container has closed its files, and what is left then. Takes (dict "root" $ "config" name "after" seconds). */}}
{{- define "service.shipper" -}}
- name: shipper
  args: [records, ship, --drain-seconds, {{ add .after .root.Values.shipper.drainSeconds | quote }}]
  {{- include "service.container" . | nindent 2 }}
  resources: {{- toYaml .root.Values.shipper.resources | nindent 4 }}
{{- end }}

{{/* A Deployment or a StatefulSet. Takes (dict "root" $ "component" name "values" its-values "replicas" n-or-none
     "port" name-of-the-port-with-metrics "portNumber" n "ends" seconds-that-its-process-may-take "containers" text). */}}
{{- define "service.workload" -}}
{{- $name := printf "%s-%s" (include "service.name" .root) .component -}}
{{- $kind := include "service.kind" .root -}}
{{- $config := include "service.name" .root -}}
{{- $after := add .root.Values.preStopSeconds .ends -}}
{{- $ships := include "service.shipsApart" .root | eq "true" -}}
apiVersion: apps/v1
kind: {{ $kind }}
metadata:
  name: {{ $name }}
  labels: {{- include "service.labels" . | nindent 4 }}
spec:
  {{- if ne .replicas "" }}
  replicas: {{ .replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  selector:
    matchLabels: {{- include "service.selector" . | nindent 6 }}
  {{- if eq $kind "StatefulSet" }}
  serviceName: {{ $name }}-pods
  podManagementPolicy: Parallel
  persistentVolumeClaimRetentionPolicy: { whenDeleted: Retain, whenScaled: Retain }
  volumeClaimTemplates:
    - metadata:
        name: var
        labels: {{- include "service.selector" . | nindent 10 }}
      spec:
        accessModes: [ReadWriteOnce]
        {{- with .root.Values.persistence.storageClassName }}
        storageClassName: {{ . }}
        {{- end }}
        resources:
          requests: { storage: {{ .root.Values.persistence.size }} }
  {{- else }}
  strategy:
    rollingUpdate: { maxUnavailable: 0, maxSurge: 1 }
  {{- end }}
  template:
    metadata:
      labels:
        {{- include "service.labels" . | nindent 8 }}
        {{- with .root.Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        checksum/config: {{ print (include "service.configFile" .root) (include "service.overlay" .root) | sha256sum }}
        {{- if and .root.Values.metrics.annotations .portNumber }}
        prometheus.io/scrape: "true"
        prometheus.io/path: /metrics
        prometheus.io/port: {{ .portNumber | quote }}
        {{- end }}
        {{- with .values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "service.podSecurity" .root | nindent 6 }}
      serviceAccountName: {{ include "service.accountName" .root }}
      terminationGracePeriodSeconds: {{ add $after (ternary .root.Values.shipper.drainSeconds 0 $ships) 5 }}
      {{- if .root.Values.topologySpread }}
      topologySpreadConstraints:
        {{- $selector := include "service.selector" . }}
        {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
        - topologyKey: {{ . }}
          maxSkew: 1
          whenUnsatisfiable: ScheduleAnyway
          labelSelector:
            matchLabels: {{- $selector | nindent 14 }}
        {{- end }}
      {{- end }}
      {{- range $key := list "nodeSelector" "tolerations" "affinity" }}
      {{- with get $.values $key }}
      {{ $key }}: {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- end }}
      containers:
        {{- .containers | nindent 8 }}
        {{- if $ships }}
        {{- include "service.shipper" (dict "root" .root "config" $config "after" $after) | nindent 8 }}
        {{- end }}
      volumes:
        {{- include "service.volumes" (dict "root" .root "config" $config "keepsVar" (eq $kind "StatefulSet") "sharesFiles" true) | nindent 8 }}
{{- end }}
