"""Kubernetes' own gangs, as of 1.36: a PodGroup with a minimum, and pods that name it.

Alpha: feature gates GenericWorkload and GangScheduling.  The API changed in every release so far: with another version
than this one there is a message, not a guess.
"""

from __future__ import annotations

from typing import Any, Final

from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads.gangs.base import Adapter, Gang
from rlvr_operator.workloads.names import child_metadata

API: Final = "scheduling.k8s.io/v1alpha2"


def _pod_group(job: JobSeen, gang: Gang) -> tuple[Manifest, ...]:
    group = {
        "apiVersion": API,
        "kind": "PodGroup",
        "metadata": child_metadata(job, _name(gang)),
        "spec": {"schedulingPolicy": {"gang": {"minCount": gang.size}}},
    }
    return (group,)


def _named(gang: Gang) -> dict[str, Any]:
    return {"spec": {"schedulingGroup": {"podGroupName": _name(gang)}}}


def _name(gang: Gang) -> str:
    """A PodGroup never changes: a job that comes back from suspension with another size has another group."""
    return f"{gang.name}-{gang.size}"


NATIVE: Final = Adapter(
    apis=(API,),
    way_out="turn on Kubernetes 1.36's feature gates for gang scheduling",
    objects=_pod_group,
    inside=_named,
)
