"""What a gang scheduler is to us: objects to apply, and marks on pods inside and beside the gang."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import ChildDeletion, Manifest

POD_GROUP: Final = "PodGroup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gang:
    """Pods that start together or not at all: all learners, the minimum of rollouts and one reward pod."""

    name: str
    """Of this job and no other, not even a later one with the same name."""
    size: int
    queue: str | None
    priority_class: str | None


def _no_objects(_job: JobSeen, _gang: Gang) -> tuple[Manifest, ...]:
    return ()


def _no_marks(_gang: Gang) -> dict[str, Any]:
    return {}


def _no_remains(_gang: Gang, _api: str) -> tuple[ChildDeletion, ...]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """One gang scheduler.  What it marks wins over the user's template, of which `conflicts.py` has spoken before."""

    apis: tuple[str, ...] = ()
    """Group/versions of which the cluster must serve one; empty: nothing is needed."""
    kind: str = POD_GROUP
    """What has to be served there."""
    way_out: str = ""
    objects: Callable[[JobSeen, Gang], tuple[Manifest, ...]] = _no_objects
    inside: Callable[[Gang], dict[str, Any]] = _no_marks
    """Merged into a pod of the gang."""
    beside: Callable[[Gang], dict[str, Any]] = _no_marks
    """Merged into any other pod of the job."""
    remains: Callable[[Gang, str], tuple[ChildDeletion, ...]] = _no_remains
    """What the scheduler made for the gang, in the group/version that the cluster serves."""
