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
    """Pods that have failed in this attempt."""
    replaced: Count = 0
    """Pods that were replaced in this attempt."""
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
    updated_at: Timestamp | None = None
    """When the coordinator was last heard."""


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
    start_time: Timestamp | None = None
    """When the first pods were made."""
    completion_time: Timestamp | None = None
    """When the job succeeded or failed."""
    roles: RolesStatus = RolesStatus()
    """Pods by role."""
    progress: ProgressStatus | None = None
    """How far training is; absent before the coordinator was first heard."""
    checkpoint: CheckpointStatus | None = None
    """The newest complete checkpoint."""
