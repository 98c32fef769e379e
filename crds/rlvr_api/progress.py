"""What a running job says about itself: the body of the coordinator's `GET /progress`.

A value that is not known yet is absent, never zero.
"""

from __future__ import annotations

from pydantic import Field

from rlvr_api.base import Model
from rlvr_api.quantities import Count, Tally


class CheckpointProgress(Model):
    """The newest complete checkpoint, and trouble with the next one."""

    step: Count | None = None
    """Step of the newest complete checkpoint; absent before the first."""
    uri: str | None = None
    """Where it is."""
    saved_at: float | None = None
    """Unix seconds when it became complete."""
    is_waiting: bool = False
    """Training waits for the store."""
    last_error: str | None = None
    """What the store said last; absent when the last attempt went well."""


class Progress(Model):
    """What a running job says about itself."""

    attempt: Count
    """Which life of learner and coordinator this is."""
    step: Count
    """Finished steps."""
    total_steps: Count
    """Steps at which training ends."""
    policy: str | None = None
    """Label of the newest policy version."""
    reward: float | None = None
    """Mean reward of the newest step's completions."""
    accuracy: float | None = None
    """Share of the newest step's completions that were correct."""
    eval_accuracy: float | None = None
    """Held-out accuracy of the newest evaluation."""
    eval_step: Count | None = None
    """Finished steps of the policy that was evaluated."""
    completion_tokens_mean: float | None = None
    """Mean completion length of the newest step."""
    entropy: float | None = None
    """Mean token entropy of the newest step, in nats."""
    tokens_per_second: float | None = None
    """Completion tokens received per second during the newest step."""
    generated_tokens: Tally = 0
    """Completion tokens sampled for training so far, dropped groups included."""
    dropped_groups: dict[str, Count] = Field(default_factory=dict)
    """Groups consumed without being trained, by fate."""
    length_targets: dict[str, Count] = Field(default_factory=dict)
    """Target length in tokens by difficulty, where the length reward follows monitor prompts."""
    rollouts_ready: Count | None = None
    """Replicas that speak a known policy version."""
    eta_seconds: float | None = None
    """Expected time to the last step."""
    activity: str = ""
    """What the job is doing or waiting for, in words."""
    checkpoint: CheckpointProgress = CheckpointProgress()
    """The newest complete checkpoint."""
    updated_at: float
    """Unix seconds when this was true."""
