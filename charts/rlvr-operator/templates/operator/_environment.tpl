{{- /* Every setting of operator/rlvr_operator/settings.py that this chart knows better than its default. */ -}}
{{- define "rlvr.environment" -}}
- name: RLVR_OPERATOR_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: RLVR_OPERATOR_SERVICE_ACCOUNT
  valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}
- name: RLVR_OPERATOR_IDENTITY
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: RLVR_OPERATOR_LEASE_NAME
  value: {{ include "rlvr.fullname" . }}
- name: RLVR_OPERATOR_WATCH_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
- name: RLVR_OPERATOR_WATCH_NODES
  value: {{ .Values.watchNodes | quote }}
- name: RLVR_OPERATOR_TRAINER_IMAGE
  value: {{ include "rlvr.image" (list $ .Values.images.trainer) }}
- name: RLVR_OPERATOR_ENGINE_IMAGE
  value: {{ .Values.images.engine }}
- name: RLVR_OPERATOR_REWARD_IMAGE
  value: {{ include "rlvr.image" (list $ .Values.images.reward) }}
- name: RLVR_OPERATOR_CLUSTER_DOMAIN
  value: {{ .Values.clusterDomain }}
- name: RLVR_OPERATOR_MONITORING_NAMESPACE
  value: {{ .Values.monitoring.namespace | quote }}
- name: RLVR_OPERATOR_LOG_LEVEL
  value: {{ .Values.logLevel }}
{{- range $name, $value := .Values.settings }}
- name: RLVR_OPERATOR_{{ upper $name }}
  value: {{ $value | quote }}
{{- end }}
# Libraries ask for the home and the name of a user that has no entry in /etc/passwd.
- {name: HOME, value: /tmp}
- {name: USER, value: rlvr}
- {name: PYTHONUNBUFFERED, value: "1"}
{{- end -}}
