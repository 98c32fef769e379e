"""What there is: one job and its pods, as facts.  Records only; `parsing.py` reads them from Kubernetes objects.

Times are Unix seconds.  A fact that the API server did not tell is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from rlvr_api import Progress, RLVRJobSpec, RLVRJobStatus
from rlvr_api.contract import DEFAULT_MANAGER

Role = Literal["learner", "rollout", "reward"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
PodPhase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """A container that ended."""

    container: str
    code: int
    reason: str = ""
    """The kubelet's word, such as OOMKilled or Error."""
    message: str = ""
    started_at: float | None = None
    finished_at: float | None = None
    is_last: bool = False
    """It was of an earlier run of a container that has been started again since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A container that cannot start."""

    container: str
    image: str
    reason: str
    """The kubelet's word, such as ImagePullBackOff."""
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """One pod of the job."""

    name: str
    uid: str
    role: Role
    index: int
    attempt: int
    """Learner: attempt of the job.  Others: incarnation of this index."""
    failures: int = 0
    """Others than learners: failures in a row before this incarnation."""
    phase: PodPhase
    is_ready: bool = False
    ready_since: float | None = None
    unready_since: float | None = None
    """When it was last ready, if it is not now."""
    created_at: float
    deleted_at: float | None = None
    """When deletion was asked for plus the grace that was given (metadata.deletionTimestamp)."""
    is_held: bool = False
    """Somebody's finalizer keeps it, such as Kueue's until a replacement is there."""
    grace_seconds: int = 30
    """Its terminationGracePeriodSeconds."""
    node: str = ""
    address: str = ""
    is_placed: bool = False
    placed_at: float | None = None
    is_gated: bool = False
    """A scheduling gate (Kueue's, say) holds it."""
    unschedulable: str = ""
    """The scheduler's own words."""
    is_disrupted: bool = False
    """Condition DisruptionTarget: drained, preempted, evicted or its node is gone."""
    disruption: str = ""
    """Reason and message of that condition."""
    restarts: int = 0
    """How often the kubelet has started one of its containers again, at most."""
    waiting: tuple[Waiting, ...] = ()
    exits: tuple[Exit, ...] = ()

    @property
    def is_terminating(self) -> bool:
        return self.deleted_at is not None

    @property
    def is_remnant(self) -> bool:
        """It is deleted and nothing of it runs or ever will; only a finalizer keeps the object."""
        return self.is_terminating and self.is_held and (self.has_ended or not self.is_placed)

    @property
    def has_ended(self) -> bool:
        """No container of it will run again."""
        return self.phase in {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSeen:
    """The job object."""

    namespace: str
    name: str
    uid: str
    generation: int
    created_at: float
    deleted_at: float | None = None
    finalizers: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    managed_by: str = DEFAULT_MANAGER
    spec: RLVRJobSpec | None
    """None when it breaks rules that the API server does not know."""
    problems: tuple[str, ...] = ()
    """One per broken rule: field, value, rule, way out."""
    status: RLVRJobStatus = field(default_factory=RLVRJobStatus)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The API server said no to something, and nothing of that name has been made since."""

    what: str
    """Kind and name."""
    code: int
    message: str
    """The server's own words."""
    at: float
    """When it said so last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressSeen:
    """What the coordinator said last."""

    progress: Progress
    heard_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Everything that reconcile may look at."""

    job: JobSeen
    pods: tuple[PodSeen, ...] = ()
    """All pods owned by the job, expected ones included."""
    applied: Mapping[str, str] = field(default_factory=dict)
    """Hash of each applied child as its annotation says, by `Kind/name`."""
    progress: ProgressSeen | None = None
    listening_since: float | None = None
    """Since when this process asks the job's coordinator; None while it does not."""
    refusals: tuple[Refusal, ...] = ()
    lost_nodes: frozenset[str] = frozenset()
    """Nodes that are not ready or no longer exist."""
    now: float
