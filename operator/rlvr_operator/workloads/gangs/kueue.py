"""Kueue, by its plain pod groups: quota is reserved for the whole gang or nobody of it is let through.

A pod beside the gang is admitted by itself.  Kueue keeps every ended pod of a group (finalizer kueue.x-k8s.io/managed)
until its replacement exists; when none is to come, deleting the group's Workload lets all of them go.
"""

from __future__ import annotations

from typing import Any, Final

from rlvr_operator.plan import ChildDeletion
from rlvr_operator.workloads.gangs.base import Adapter, Gang

QUEUE: Final = "kueue.x-k8s.io/queue-name"
GROUP: Final = "kueue.x-k8s.io/pod-group-name"
TOTAL: Final = "kueue.x-k8s.io/pod-group-total-count"
WORKLOAD: Final = "Workload"
APIS: Final = ("kueue.x-k8s.io/v1beta2", "kueue.x-k8s.io/v1beta1")


def queued(gang: Gang) -> dict[str, Any]:
    """A pod that Kueue admits by itself."""
    return {"metadata": {"labels": {QUEUE: gang.queue}}} if gang.queue else {}


def _grouped(gang: Gang) -> dict[str, Any]:
    labels = {QUEUE: gang.queue, GROUP: gang.name}
    return {"metadata": {"labels": labels, "annotations": {TOTAL: str(gang.size)}}}


def _workload(gang: Gang, api: str) -> tuple[ChildDeletion, ...]:
    return (ChildDeletion(kind=WORKLOAD, name=gang.name, api_version=api),)


KUEUE: Final = Adapter(
    apis=APIS, kind=WORKLOAD, way_out="install Kueue", inside=_grouped, beside=queued, remains=_workload
)
