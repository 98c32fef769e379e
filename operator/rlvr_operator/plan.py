"""What to do about a job: the answer of reconcile, carried out by `cluster/executor.py`.

Pure data.  Order of execution: finalizer added, deletions, applied objects, pods, status, events, finalizer removed,
job deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from rlvr_api import RLVRJobStatus

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodDeletion:
    """One pod to delete, and only that incarnation of the name."""

    name: str
    uid: str
    grace_seconds: int | None = None
    """None: the pod's own terminationGracePeriodSeconds; 0: by force."""
    reason: str
    """For the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildDeletion:
    """One child apart from pods that is no longer wanted."""

    kind: str
    name: str
    api_version: str = ""
    """Of a kind that others make for the job; empty for what the operator applies itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A Kubernetes Event about the job."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now.  An empty plan means that the world is as it should be."""

    finalizer: Literal["add", "remove"] | None = None
    delete_pods: tuple[PodDeletion, ...] = ()
    delete_children: tuple[ChildDeletion, ...] = ()
    apply: tuple[Manifest, ...] = ()
    """Server-side applied; each carries the annotation rlvr.dev/hash."""
    later: tuple[Manifest, ...] = ()
    """Will be applied when pods are up; pods are made only if nobody else has these names."""
    create: tuple[Manifest, ...] = ()
    """Pods; created once, a name that exists already is success."""
    status: RLVRJobStatus | None = None
    """The whole status to write; None when what is written already is right."""
    events: tuple[Event, ...] = ()
    delete_job: bool = False
    look_again_seconds: float | None = None
    """When time alone could change the answer."""

    @property
    def is_empty(self) -> bool:
        """Nothing to do, though time may change that."""
        return self == Plan(look_again_seconds=self.look_again_seconds)
