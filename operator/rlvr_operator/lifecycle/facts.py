"""What every step may ask about a job.  Derived from one observation; no memory but the job's own status."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from rlvr_api import Condition, RLVRJobSpec, RLVRJobStatus
from rlvr_api.status import AttemptStatus, ConditionType
from rlvr_operator.observed import JobSeen, Observed, PodSeen, ProgressSeen, Refusal, Role
from rlvr_operator.timestamps import unix

REFUSAL_SECONDS: Final = 300.0
"""Whatever is still refused is tried, and refused, again within so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One observation, and questions about it."""

    seen: Observed
    problems: tuple[str, ...] = ()
    """Why nothing may be built for the job."""

    @property
    def job(self) -> JobSeen:
        return self.seen.job

    @property
    def now(self) -> float:
        return self.seen.now

    @property
    def spec(self) -> RLVRJobSpec:
        assert self.job.spec is not None, "steps after validity need a valid spec"
        return self.job.spec

    @property
    def status(self) -> RLVRJobStatus:
        return self.job.status

    @property
    def attempt(self) -> AttemptStatus:
        return self.status.current_attempt

    @property
    def learners(self) -> tuple[PodSeen, ...]:
        """Learner pods of the present attempt, by index."""
        pods = (pod for pod in self.pods_of("learner") if pod.attempt == self.status.attempt)
        return tuple(sorted(pods, key=lambda pod: pod.index))

    @property
    def former_learners(self) -> tuple[PodSeen, ...]:
        """Learner pods of earlier attempts; remnants of which nothing runs do not count."""
        former = (pod for pod in self.pods_of("learner") if pod.attempt < self.status.attempt)
        return tuple(pod for pod in former if not pod.is_remnant)

    @property
    def heard(self) -> ProgressSeen | None:
        """What the coordinator of the present attempt said last."""
        progress = self.seen.progress
        return progress if progress and progress.progress.attempt == self.status.attempt else None

    @property
    def checkpoint_step(self) -> int | None:
        """Step of the newest complete checkpoint that anyone told of."""
        written = self.status.checkpoint.step if self.status.checkpoint else None
        heard = self.seen.progress.progress.checkpoint.step if self.seen.progress else None
        return max((step for step in (written, heard) if step is not None), default=None)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What the API server said no to lately; older ones were about things that are not wanted any more."""
        return tuple(no for no in self.seen.refusals if self.now - no.at < REFUSAL_SECONDS)

    def with_status(self, status: RLVRJobStatus) -> Facts:
        """The same, were `status` on record."""
        return replace(self, seen=replace(self.seen, job=replace(self.job, status=status)))

    def pods_of(self, role: Role) -> tuple[PodSeen, ...]:
        return tuple(pod for pod in self.seen.pods if pod.role == role)

    def wanted(self, role: Role) -> int:
        """Pods that there should be."""
        sizes = {
            "learner": self.spec.learner.nodes,
            "rollout": self.spec.rollout.replicas,
            "reward": self.spec.reward.replicas,
        }
        return sizes[role]

    def needed(self, role: Role) -> int:
        """Pods without which the job cannot progress: the base gang."""
        sizes = {"learner": self.spec.learner.nodes, "rollout": self.spec.rollout.min or 1, "reward": 1}
        return sizes[role]

    def present(self, role: Role) -> tuple[PodSeen, ...]:
        """Pods of the role that count: learners of this attempt only."""
        return self.learners if role == "learner" else self.pods_of(role)

    def ready(self, role: Role) -> int:
        return sum(pod.is_ready and not pod.is_terminating for pod in self.present(role))

    def condition(self, kind: ConditionType) -> Condition | None:
        """An answer that is on record."""
        return next((condition for condition in self.status.conditions if condition.type == kind), None)

    def is_true(self, kind: ConditionType) -> bool:
        condition = self.condition(kind)
        return condition is not None and condition.status == "True"

    def since(self, kind: ConditionType) -> float:
        """When the recorded answer last changed; 0 without one."""
        condition = self.condition(kind)
        return unix(condition.last_transition_time) if condition else 0.0

    @property
    def has_finished(self) -> bool:
        return self.is_true("Complete") or self.is_true("Failed")
