"""The spec of an RLVRJob: one member per topic, and the rules that span topics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final

from pydantic import Field

from rlvr_api.algorithm import AlgorithmSpec
from rlvr_api.base import Model, Problem, Rule
from rlvr_api.checkpoint import CheckpointSpec
from rlvr_api.contract import DEFAULT_MANAGER
from rlvr_api.data import DataSpec
from rlvr_api.learner import LearnerSpec
from rlvr_api.limits import LimitsSpec
from rlvr_api.model import ModelSpec
from rlvr_api.recipe import refusals, resolve
from rlvr_api.reward import RewardSpec
from rlvr_api.rollout import RolloutSpec
from rlvr_api.scheduling import SchedulingSpec
from rlvr_api.training import TrainingSpec

FROZEN_WHILE_RUNNING: Final = (
    "model",
    "data",
    "algorithm",
    "training",
    "checkpoint.uri",
    "scheduling",
    "rollout.engine",
    "rollout.weightTransfer",
    "rollout.template",
    "rollout.sampling",
    "rollout.maxConcurrent",
    "reward.verifiers",
    "reward.timeoutSeconds",
    "reward.workers",
    "reward.template",
    "reward.runtimeClassName",
    "learner.nodes",
    "learner.gpusPerNode",
    "learner.backend",
    "learner.template",
)
"""What a running job was started with; replicas, limits, restart budget and retention may change."""


OPTIONAL: Final = frozenset(
    {"checkpoint.uri", "rollout.template", "reward.template", "reward.runtimeClassName", "learner.template"}
)


def _frozen(path: str) -> Rule:
    """`path` may change only while the job is suspended."""
    old, new = f"oldSelf.{path}", f"self.{path}"
    same = f"{old} == {new}"
    if path in OPTIONAL:
        same = f"has({old}) == has({new}) && (!has({new}) || {same})"
    return Rule(
        cel=f"oldSelf.suspend || {same}",
        message=f"{path} is fixed while the job runs: set suspend to true first, or make a new job",
        field=path,
    )


class RLVRJobSpec(Model):
    """Train a model by reinforcement learning with verifiable rewards."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.rollout.sampling.maxTokens <= self.training.tokenBudget",
            message="training.tokenBudget {training.tokenBudget} cannot hold rollout.sampling.maxTokens "
            "{rollout.sampling.maxTokens}: raise tokenBudget or lower maxTokens",
            holds=lambda spec: spec.rollout.sampling.max_tokens <= spec.training.token_budget,
            field="training.tokenBudget",
        ),
        Rule(
            cel="!has(self.model.maxContext) || self.rollout.sampling.maxTokens < self.model.maxContext",
            message="rollout.sampling.maxTokens {rollout.sampling.maxTokens} leaves no room for a prompt within "
            "model.maxContext {model.maxContext}: lower maxTokens or raise maxContext",
            holds=lambda spec: (
                spec.model.max_context is None or spec.rollout.sampling.max_tokens < spec.model.max_context
            ),
            field="rollout.sampling.maxTokens",
        ),
        Rule(
            cel="self.training.groupSize <= self.rollout.maxConcurrent",
            message="rollout.maxConcurrent {rollout.maxConcurrent} is less than training.groupSize "
            "{training.groupSize}, and one replica samples a whole group: raise maxConcurrent or lower groupSize",
            holds=lambda spec: spec.training.group_size <= spec.rollout.max_concurrent,
            field="rollout.maxConcurrent",
        ),
        Rule(
            cel="self.training.optimizer.warmupSteps <= self.training.steps",
            message="training.optimizer.warmupSteps {training.optimizer.warmupSteps} is more than training.steps "
            "{training.steps}: lower it",
            holds=lambda spec: spec.training.optimizer.warmup_steps <= spec.training.steps,
            field="training.optimizer.warmupSteps",
        ),
        Rule(
            cel="has(self.data.train.procedural) || !self.reward.verifiers.exists(item, has(item.reasoningGym))",
            message="the reasoningGym verifier scores procedural tasks only: use data.train.procedural or another "
            "verifier",
            holds=lambda spec: (
                spec.data.train.procedural is not None
                or all(verifier.reasoning_gym is None for verifier in spec.reward.verifiers)
            ),
            field="reward.verifiers",
        ),
        Rule(
            cel="!has(self.data.eval) || !has(self.data.eval.forking) || self.rollout.engine == 'local'",
            message="data.eval.forking needs every token's entropy before the token is sampled, which rollout.engine "
            "{rollout.engine} does not offer: set it to local, or drop forking",
            holds=lambda spec: (
                spec.data.eval is None or spec.data.eval.forking is None or spec.rollout.engine == "local"
            ),
            field="data.eval.forking",
        ),
        Rule(
            cel="self.rollout.weightTransfer == 'directory' || self.learner.gpusPerNode > 0",
            message="rollout.weightTransfer {rollout.weightTransfer} is a broadcast between GPUs, and "
            "learner.gpusPerNode {learner.gpusPerNode} is a learner on the CPU: set gpusPerNode to at least 1, or "
            "weightTransfer to directory",
            holds=lambda spec: spec.rollout.weight_transfer == "directory" or spec.learner.gpus_per_node > 0,
            field="rollout.weightTransfer",
        ),
        Rule(
            cel="self.managedBy == oldSelf.managedBy",
            message="managedBy never changes: make a new job",
            field="managedBy",
        ),
        *(_frozen(path) for path in FROZEN_WHILE_RUNNING),
        Rule(
            cel="oldSelf.suspend || self.scheduling.gang == 'none' || "
            "has(oldSelf.rollout.min) == has(self.rollout.min) && "
            "(!has(self.rollout.min) || oldSelf.rollout.min == self.rollout.min)",
            message="rollout.min is part of the gang, whose size is fixed while the job runs: change replicas, or set "
            "suspend to true first",
            field="rollout.min",
        ),
    )

    model: ModelSpec
    """The base model."""
    data: DataSpec
    """Prompts to train on and prompts to measure with."""
    algorithm: AlgorithmSpec = AlgorithmSpec()
    """How verdicts become gradient."""
    training: TrainingSpec
    """How long, how much at a time, and with which optimizer."""
    rollout: RolloutSpec = RolloutSpec()
    """Replicas that sample completions."""
    reward: RewardSpec
    """The service that judges completions."""
    learner: LearnerSpec = LearnerSpec()
    """The processes that turn verdicts into gradients."""
    checkpoint: CheckpointSpec = CheckpointSpec()
    """Where the state of a run is kept."""
    scheduling: SchedulingSpec = SchedulingSpec()
    """How pods are placed."""
    limits: LimitsSpec = LimitsSpec()
    """How long things may take."""
    suspend: bool = False
    """Save a checkpoint, then give up all pods; false continues."""
    managed_by: Annotated[str, Field(min_length=1, max_length=63)] = DEFAULT_MANAGER
    """Which controller acts on this job.  Never changes."""

    def problems(self) -> Iterator[Problem]:
        """What the rules and the algorithm's composition object to."""
        yield from super().problems()
        recipe = resolve(self.algorithm)
        for field, message in refusals(recipe, max_tokens=self.rollout.sampling.max_tokens):
            yield Problem(f"algorithm.{field}", f"algorithm: {message}")
        if self.rollout.sampling.forking is not None and recipe.importance_sampling.mode == "off":
            yield Problem(
                "rollout.sampling.forking",
                "rollout.sampling.forking samples from another distribution than the policy that is trained, so its "
                "gradient needs a correction: set algorithm.importanceSampling.mode to truncate or mask, or drop "
                "forking",
            )
