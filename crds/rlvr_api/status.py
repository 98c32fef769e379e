"""What the operator reports.  Conditions are the truth; `phase` is derived for people and never read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rlvr_api.base import Model
from rlvr_api.quantities import Count, Text, Timestamp, Word

Phase = Literal["Pending", "Queued", "Starting", "Running", "Restarting", "Suspended", "Succeeded", "Failed"]
ConditionType = Literal[
    "Validated",
    "Queued",
    "Scheduled",
    "RolloutsReady",
    "RewardReady",
    "LearnerReady",
    "Running",
    "Restarting",
    "CheckpointHealthy",
    "Suspended",
    "Complete",
    "Failed",
]


class Condition(Model):
    """One question about the job, answered (metav1.Condition)."""

    type: ConditionType
    """The question."""
    status: Literal["True", "False", "Unknown"]
    """The answer."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, as one CamelCase word."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, for people."""
    last_transition_time: Timestamp
    """When the answer last changed."""
    observed_generation: Count | None = None
    """Generation of the spec that the answer is about."""


class RoleStatus(Model):
    """Pods of one role."""

    desired: Count = 0
    """Pods that there should be."""
    ready: Count = 0
    """Pods that are ready."""
    failed: Count = 0
    """Pods that have failed and are still there."""
    replaced: Count = 0
    """Predecessors of the present pods, all indices together."""
    summary: Word | None = None
    """ready/desired, for `kubectl get`."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the pods, for autoscalers."""


class RolesStatus(Model):
    """Pods by role."""

    learner: RoleStatus = RoleStatus()
    """Learner pods; the coordinator lives in the first."""
    rollout: RoleStatus = RoleStatus()
    """Rollout replicas."""
    reward: RoleStatus = RoleStatus()
    """Reward replicas."""


class ProgressStatus(Model):
    """How far training is."""

    step: Count = 0
    """Finished steps."""
    total_steps: Count = 0
    """Steps at which training ends."""
    reward: float | None = None
    """Mean reward of the newest step."""
    accuracy: float | None = None
    """Share of the newest step's completions that were correct."""
    eval_accuracy: float | None = None
    """Held-out accuracy of the newest evaluation."""
    policy: Word | None = None
    """Label of the newest policy version."""
    step_since: Timestamp | None = None
    """When the operator first saw this step."""
    updated_at: Timestamp | None = None
    """When the operator last heard something new from the coordinator."""


class CheckpointStatus(Model):
    """The newest complete checkpoint."""

    step: Count | None = None
    """Its step; absent before the first."""
    uri: Annotated[str, Field(max_length=1100)] | None = None
    """Where it is."""
    time: Timestamp | None = None
    """When it became complete."""
    last_error: Text | None = None
    """What the store said last; absent when the last attempt went well."""


class AttemptStatus(Model):
    """The present attempt, and what the restart rules remember of earlier ones."""

    started_at: Timestamp | None = None
    """When all its learner pods had a node; absent before."""
    running_at: Timestamp | None = None
    """When everything was first ready together: learner, minimum of rollouts, one reward pod; absent before."""
    cause: Text | None = None
    """Why the attempt before it ended; absent for the first and after a suspension."""
    checkpoint_step: Count | None = None
    """Newest complete checkpoint when it began."""
    fruitless: Count = 0
    """Counted restarts in a row before it without a newer checkpoint."""
    out_of_memory: Count = 0
    """Restarts for want of memory since the budget was last earned back."""
    free_restarts: Annotated[tuple[Timestamp, ...], Field(strict=False, max_length=32)] = ()
    """Restarts within the last hour that did not count."""


class RLVRJobStatus(Model):
    """What the operator reports."""

    observed_generation: Count | None = None
    """Generation of the spec that this status is about."""
    phase: Phase | None = None
    """One word for people, derived from the conditions."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            strict=False,
            max_length=32,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = ()
    """Questions about the job, answered."""
    message: Text | None = None
    """Why the job is where it is, for people."""
    attempt: Count = 0
    """Which life of the learner this is; also counts resumptions."""
    restarts: Count = 0
    """Restarts that count against learner.restart.maxRestarts."""
    current_attempt: AttemptStatus = AttemptStatus()
    """The present attempt."""
    start_time: Timestamp | None = None
    """When the first pods were made."""
    active_since: Timestamp | None = None
    """When the job last began to run; absent while it is suspended or queued."""
    active_seconds: Count = 0
    """How long it ran before that."""
    completion_time: Timestamp | None = None
    """When the job succeeded or failed."""
    roles: RolesStatus = RolesStatus()
    """Pods by role."""
    progress: ProgressStatus | None = None
    """How far training is; absent before the coordinator was first heard."""
    checkpoint: CheckpointStatus | None = None
    """The newest complete checkpoint."""
