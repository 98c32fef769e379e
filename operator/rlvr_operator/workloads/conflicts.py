"""What a user's pod templates ask for that a job cannot give.

A template may say anything about a pod that is not the job's own: images, resources, devices, claims, node selection,
tolerations, volumes, environment, sidecars, service account.  Refused is what would break addresses, failure handling,
scheduling as a gang, or the walls between roles; each with its reason and the way out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rlvr_api import RLVRJobSpec, contract
from rlvr_api.devices import GPU, asked_for, main_device
from rlvr_operator.observed import ROLES, Role
from rlvr_operator.workloads import container_conflicts
from rlvr_operator.workloads.learner import GRACE_SECONDS
from rlvr_operator.workloads.pods import JOB_VOLUME, TOKEN_VOLUME
from rlvr_operator.workloads.templates import container, items, mapping, pod_spec, template_of, words

_OURS: Final[Mapping[str, str]] = {
    "hostname": "other pods find this one by the name that the job gives it",
    "subdomain": "other pods find this one by the name that the job gives it",
    "setHostnameAsFQDN": "other pods find this one by the name that the job gives it",
    "restartPolicy": "what follows a failure depends on the role; see learner.restart for what can be set",
    "hostNetwork": "on the node's network the engine's unauthenticated routes would be open to the node",
    "hostPID": "pods see their own processes only",
    "hostIPC": "pods see their own memory only",
    "shareProcessNamespace": "pods see their own processes only",
    "automountServiceAccountToken": "pods of a job need no access to the API server; for a cloud's identity set "
    "serviceAccountName",
    "enableServiceLinks": "Services of the namespace could overwrite environment variables",
    "nodeName": "it would go around scheduler, quota and gang; use nodeSelector",
    "activeDeadlineSeconds": "a deadline belongs to the whole job; use limits.activeDeadlineSeconds",
    "schedulingGroup": "the gang decides it; use scheduling.gang",
    "ephemeralContainers": "they are added to running pods; use kubectl debug",
    "runtimeClassName": "use reward.runtimeClassName",
}
_ELSEWHERE: Final = frozenset({"runtimeClassName"})
"""Conflicts in reward's template only."""
_PREFIXES: Final[Mapping[str, str]] = {
    f"{contract.GROUP}/": "the operator finds its pods by it",
    "kueue.x-k8s.io/queue-name": "use scheduling.queueName",
    "kueue.x-k8s.io/pod-group": "use scheduling.gang",
    "scheduling.x-k8s.io/pod-group": "use scheduling.gang",
    "scheduling.k8s.io/group-name": "use scheduling.gang",
}
_QUEUED: Final = frozenset({"none", "kueue", "volcano"})


def conflicts(spec: RLVRJobSpec) -> tuple[str, ...]:
    """One sentence per conflict: field, value, rule and way out; empty when the templates fit."""
    return (*_of_job(spec), *(f"{role}.template.{found}" for role in ROLES for found in _of_template(spec, role)))


def _of_job(spec: RLVRJobSpec) -> Iterator[str]:
    if spec.rollout.engine == "vllm" and spec.model.builtin is not None:
        yield (
            f"model.builtin {spec.model.builtin} is inside the trainer's image, where vLLM cannot read it: set "
            "rollout.engine to local, or use model.path or model.hub"
        )
    gang, queue = spec.scheduling.gang, spec.scheduling.queue_name
    if queue is not None and gang not in _QUEUED:
        yield (
            f"scheduling.queueName {queue} admits pods one by one, and with scheduling.gang {gang} they would wait for "
            "each other: leave queueName out, or set gang to kueue"
        )


def _of_template(spec: RLVRJobSpec, role: Role) -> Iterator[str]:
    template = template_of(spec, role)
    yield from _of_metadata(mapping(template.get("metadata")))
    yield from (f"spec.{found}" for found in _of_pod(spec, role, pod_spec(template)))
    yield from (f"spec.{found}" for found in container_conflicts.of_containers(spec, role, pod_spec(template)))


def _of_metadata(metadata: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(set(metadata) - {"labels", "annotations", "creationTimestamp"}):
        yield f"metadata.{name} has no place in a template: only labels and annotations have"
    for kind in ("labels", "annotations"):
        for key in sorted(mapping(metadata.get(kind))):
            reason = next((why for prefix, why in _PREFIXES.items() if key.startswith(prefix)), None)
            if reason is not None:
                yield f"metadata.{kind} {key} is the operator's own: {reason}"


def _of_pod(spec: RLVRJobSpec, role: Role, pod: Mapping[str, Any]) -> Iterator[str]:
    for field, reason in _OURS.items():
        # False for a boolean says what we say.
        if pod.get(field) not in (None, False) and (field not in _ELSEWHERE or role == "reward"):
            yield f"{field} {pod[field]!r} cannot be set: {reason}"
    grace = pod.get("terminationGracePeriodSeconds")
    if role == "learner" and isinstance(grace, int) and grace < GRACE_SECONDS:
        yield (
            f"terminationGracePeriodSeconds {grace} would end a learner before its checkpoint is saved: at least "
            f"{GRACE_SECONDS}"
        )
    if spec.scheduling.gang == "volcano" and pod.get("schedulerName") not in (None, "volcano"):
        yield f"schedulerName {pod['schedulerName']} cannot start a gang of Volcano's: leave it out"
    if role == "reward":
        yield from container_conflicts.loosened(mapping(pod.get("securityContext")))
    yield from _of_volumes(role, pod)
    yield from _of_devices(spec, role)


def _of_volumes(role: Role, pod: Mapping[str, Any]) -> Iterator[str]:
    for volume in items(pod, "volumes"):
        name = volume.get("name")
        if name in (JOB_VOLUME, TOKEN_VOLUME):
            yield f"volumes {name} is the job's own: choose another name"
        if role == "reward" and "hostPath" in volume:
            yield f"volumes {name} cannot be a hostPath: verifiers may run code that a model wrote; use another volume"


def _of_devices(spec: RLVRJobSpec, role: Role) -> Iterator[str]:
    if role == "learner":
        gpus, wanted = asked_for(container(template_of(spec, role), "learner")).get(GPU), spec.learner.gpus_per_node
        if gpus is not None and gpus != wanted:
            yield f"containers learner asks for {gpus} {GPU}, but learner.gpusPerNode is {wanted}: make them equal"
    if role == "rollout" and spec.rollout.engine == "vllm":
        engine = container(template_of(spec, role), "engine")
        if main_device(engine) is None and "--tensor-parallel-size" not in words(engine, "args"):
            kinds = ", ".join(sorted(asked_for(engine)))
            yield (
                f"containers engine asks for several kinds of devices ({kinds}): say how many GPUs the engine spans "
                'with args ["--tensor-parallel-size", "8"], for example'
            )
