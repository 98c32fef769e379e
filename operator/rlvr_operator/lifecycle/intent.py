"""A step's answer: what should be done about a job, before manifests and status are made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rlvr_api import RLVRJobStatus
from rlvr_operator.observed import PodSeen
from rlvr_operator.plan import Event, PodDeletion
from rlvr_operator.workloads import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The job is over."""

    kind: Literal["Complete", "Failed"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What should be done."""

    is_hands_off: bool = False
    """Nothing at all is done, nor reported."""
    finalizer: Literal["add", "remove"] | None = None
    keeps_children: bool = False
    """Services, ConfigMap and the like should be there, in their present form."""
    delete: tuple[PodDeletion, ...] = ()
    create: tuple[Member, ...] = ()
    memory: RLVRJobStatus | None = None
    """The status with what has to be remembered; None when that has not changed."""
    ending: Ending | None = None
    events: tuple[Event, ...] = ()
    lets_gang_go: bool = False
    """No pod will run any more: the gang scheduler may forget the job."""
    delete_job: bool = False


def deletions(pods: Iterator[PodSeen] | tuple[PodSeen, ...], *, reason: str) -> tuple[PodDeletion, ...]:
    """Ask for the deletion of `pods`, with their own grace, unless that has been asked for already."""
    return tuple(PodDeletion(name=pod.name, uid=pod.uid, reason=reason) for pod in pods if not pod.is_terminating)
