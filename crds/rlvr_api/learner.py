"""The processes that turn verdicts into gradients, and what happens when they fail."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rlvr_api.base import Model, Rule, exactly_one_of
from rlvr_api.quantities import Count, PodTemplate, Positive

ExitStatus = Annotated[int, Field(ge=1, le=255)]


class LocalBackend(Model):
    """Plain PyTorch in one process."""


class DeepSpeedBackend(Model):
    """DeepSpeed ZeRO over all ranks."""

    zero_stage: Annotated[int, Field(ge=1, le=3)] = 2
    """1 shards optimizer state, 2 gradients too, 3 weights too."""
    offload: Literal["none", "cpu"] = "none"
    """`cpu` keeps the optimizer state in host memory."""


class Backend(Model):
    """What drives the optimizer."""

    RULES: ClassVar[tuple[Rule, ...]] = (exactly_one_of("local", "deepspeed"),)

    local: LocalBackend | None = None
    """Plain PyTorch in one process."""
    deepspeed: DeepSpeedBackend | None = None
    """DeepSpeed ZeRO over all ranks."""


class RestartRule(Model):
    """What to do about certain exit codes of a learner process."""

    exit_codes: Annotated[tuple[ExitStatus, ...], Field(strict=False, min_length=1, max_length=64)]
    """Exit codes that this rule is about."""
    action: Literal["restart", "restartFree", "fail"]
    """Restart and count it, restart without counting it, or fail the job."""


class RestartSpec(Model):
    """When a failed learner starts again from the last checkpoint, and when it does not."""

    max_restarts: Count = 3
    """Restarts that count before the job fails."""
    stable_seconds: Count = 600
    """A counted restart is forgiven after so long a run that also saved a newer checkpoint."""
    no_progress_attempts: Positive = 2
    """The job fails after so many attempts in a row without a newer checkpoint, whatever the budget."""
    rules: Annotated[tuple[RestartRule, ...], Field(strict=False, max_length=16)] = ()
    """Exceptions by exit code; the first that fits decides."""


class LearnerSpec(Model):
    """The learner: one pod per node."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.backend.local) || (self.nodes == 1 && self.gpusPerNode <= 1)",
            message="backend.local is one process, too few for nodes {nodes} x gpusPerNode {gpusPerNode}: set nodes to "
            "1 and gpusPerNode to 0 or 1, or use backend.deepspeed",
            holds=lambda learner: learner.backend.local is None or (learner.nodes == 1 and learner.gpus_per_node <= 1),
            field="backend",
        ),
    )

    nodes: Annotated[int, Field(ge=1, le=4096)] = 1
    """Pods of the learner."""
    gpus_per_node: Annotated[int, Field(ge=0, le=64)] = 0
    """Ranks per pod, one GPU each; 0 means one rank on the CPU."""
    backend: Backend = Backend(local=LocalBackend())
    """What drives the optimizer."""
    restart: RestartSpec = RestartSpec()
    """What happens when it fails."""
    template: PodTemplate | None = None
    """Pod template of a node."""
