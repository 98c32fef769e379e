"""Volcano: a PodGroup with a minimum, an annotation on its pods, and its own scheduler for all pods of the job.

Not tested on a live scheduler.  Pods beside the gang use the same scheduler: two schedulers on the same nodes would
promise the same GPU twice.
"""

from __future__ import annotations

from typing import Any, Final

from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads.gangs.base import Adapter, Gang
from rlvr_operator.workloads.names import child_metadata

API: Final = "scheduling.volcano.sh/v1beta1"
GROUP: Final = "scheduling.k8s.io/group-name"
QUEUE: Final = "scheduling.volcano.sh/queue-name"
SCHEDULER: Final = "volcano"


def _pod_group(job: JobSeen, gang: Gang) -> tuple[Manifest, ...]:
    spec: dict[str, Any] = {"minMember": gang.size}
    if gang.queue is not None:
        spec["queue"] = gang.queue
    if gang.priority_class is not None:
        spec["priorityClassName"] = gang.priority_class
    return ({"apiVersion": API, "kind": "PodGroup", "metadata": child_metadata(job, gang.name), "spec": spec},)


def _annotated(gang: Gang) -> dict[str, Any]:
    return {"metadata": {"annotations": {GROUP: gang.name}}, "spec": {"schedulerName": SCHEDULER}}


def _alone(gang: Gang) -> dict[str, Any]:
    queue = {"metadata": {"annotations": {QUEUE: gang.queue}}} if gang.queue else {}
    return {**queue, "spec": {"schedulerName": SCHEDULER}}


VOLCANO: Final = Adapter(apis=(API,), way_out="install Volcano", objects=_pod_group, inside=_annotated, beside=_alone)
