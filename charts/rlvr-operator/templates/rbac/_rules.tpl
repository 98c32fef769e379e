{{- /* What the operator does in the namespaces of jobs.  Nothing is said of Secrets. */ -}}
{{- define "rlvr.rules" -}}
- apiGroups: [rlvr.dev]
  resources: [rlvrjobs]
  verbs: [get, list, watch, patch, delete]  # patch: its finalizer; delete: ttlSecondsAfterFinished
- apiGroups: [rlvr.dev]
  resources: [rlvrjobs/status]
  verbs: [patch]
- apiGroups: [rlvr.dev]
  resources: [rlvrjobs/finalizers]
  verbs: [update]  # asked for by clusters that guard blockOwnerDeletion
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [events]
  verbs: [get, create, patch]
# Gangs: Kubernetes' own, coscheduling's and Volcano's PodGroups; Kueue's Workloads are only let go.
- apiGroups: [scheduling.k8s.io, scheduling.x-k8s.io, scheduling.volcano.sh]
  resources: [podgroups]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [kueue.x-k8s.io]
  resources: [workloads]
  verbs: [delete]
{{- end -}}
