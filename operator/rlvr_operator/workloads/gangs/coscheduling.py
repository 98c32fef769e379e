"""The coscheduling plugin of scheduler-plugins: a PodGroup with a minimum, and a label on its pods.

Not tested on a live scheduler.  All members must have the same priority; where the plugin runs in a second scheduler,
the pod templates name it (`schedulerName`).
"""

from __future__ import annotations

from typing import Any, Final

from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads.gangs.base import Adapter, Gang
from rlvr_operator.workloads.names import child_metadata

API: Final = "scheduling.x-k8s.io/v1alpha1"
GROUP: Final = "scheduling.x-k8s.io/pod-group"


def _pod_group(job: JobSeen, gang: Gang) -> tuple[Manifest, ...]:
    group = {
        "apiVersion": API,
        "kind": "PodGroup",
        "metadata": child_metadata(job, gang.name),
        "spec": {"minMember": gang.size},
    }
    return (group,)


def _labelled(gang: Gang) -> dict[str, Any]:
    return {"metadata": {"labels": {GROUP: gang.name}}}


COSCHEDULING: Final = Adapter(
    apis=(API,), way_out="install scheduler-plugins with coscheduling", objects=_pod_group, inside=_labelled
)
