{{- /* The release's name, which all objects have: said once where it contains the chart's. */ -}}
{{- define "rlvr.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The labels that never change: what selects the operator's pods. */ -}}
{{- define "rlvr.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "rlvr.labels" -}}
{{ include "rlvr.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: rlvr
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "rlvr.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "rlvr.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- /* One of the project's own images: (list $ name). */ -}}
{{- define "rlvr.image" -}}
{{- $images := (index . 0).Values.images -}}
{{- $tag := $images.tag | default (index . 0).Chart.AppVersion -}}
{{- with $images.registry }}{{ trimSuffix "/" . }}/{{ end }}{{ index . 1 }}:{{ $tag }}
{{- end -}}

{{- /* Whether monitors and rules are made; empty when not. */ -}}
{{- define "rlvr.isMonitored" -}}
{{- $isKnown := .Capabilities.APIVersions.Has "monitoring.coreos.com/v1" -}}
{{- if or (eq .Values.monitoring.enabled "always") (and (eq .Values.monitoring.enabled "auto") $isKnown) -}}
yes
{{- end -}}
{{- end -}}

{{- define "rlvr.monitorLabels" -}}
{{ include "rlvr.labels" . }}
{{- with .Values.monitoring.labels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* The operator's account as the subject of a binding. */ -}}
{{- define "rlvr.subjects" -}}
- {kind: ServiceAccount, name: {{ include "rlvr.serviceAccount" . }}, namespace: {{ .Release.Namespace }}}
{{- end -}}
