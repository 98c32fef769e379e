"""Sizes, passes and the optimizer.  What a step's gradient is made of is in `algorithm`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rlvr_api.base import Model, Rule
from rlvr_api.quantities import Count, NonNegative, Positive, Seed, Word

Beta = Annotated[float, Field(ge=0, lt=1)]


class OptimizerSpec(Model):
    """AdamW."""

    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-6
    """Peak learning rate."""
    betas: Annotated[tuple[Beta, Beta], Field(strict=False)] = (0.9, 0.999)
    """Decay of the first and second moment."""
    epsilon: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the root of the second moment."""
    weight_decay: NonNegative = 0.1
    """Decoupled weight decay."""
    max_grad_norm: NonNegative = 1.0
    """Gradients are scaled down to this global norm; 0 turns it off."""
    warmup_steps: Count = 0
    """Steps over which the learning rate rises from 0."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up: constant, or falling to 0 at the last step."""


class LoraSpec(Model):
    """Low-rank adapters beside linear layers are trained, the base model's weights are not (2106.09685)."""

    rank: Annotated[int, Field(ge=1, le=4096)] = 32
    """Width of an adapter."""
    alpha: Annotated[float, Field(gt=0, le=65536)] = 32.0
    """What an adapter computes counts alpha / rank times."""
    target_modules: Annotated[tuple[Word, ...], Field(strict=False, max_length=64)] = ()
    """Linear layers that get one, by the end of their name, such as q_proj.  None named: all but the output head."""

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


class TrainingSpec(Model):
    """How long, how much at a time, and with which optimizer."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.promptsPerStep % self.minibatches == 0",
            message="minibatches {minibatches} does not divide promptsPerStep {promptsPerStep}, but updates take whole "
            "groups: choose a divisor",
            holds=lambda training: training.prompts_per_step % training.minibatches == 0,
            field="minibatches",
        ),
    )

    steps: Positive
    """Training ends after this many steps.  Each step makes one policy version."""
    prompts_per_step: Annotated[int, Field(ge=1, le=65536)] = 64
    """Groups in a step's batch."""
    group_size: Annotated[int, Field(ge=2, le=1024)] = 16
    """Completions per prompt.  At least 2: a completion is compared with its siblings."""
    minibatches: Positive = 1
    """Optimizer updates per pass over the step's batch."""
    epochs: Positive = 1
    """Passes over the step's batch."""
    max_staleness: Count = 0
    """Steps that the policy which sampled a completion may lie behind the one it trains.  0 is synchronous."""
    token_budget: Positive = 16384
    """Tokens (prompts included) per micro-batch: memory, not mathematics."""
    activation_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, a third more time."""
    packing: bool = False
    """Lay the completions of a micro-batch end to end instead of padding them to the longest: same losses, no waste."""
    seed: Seed = 0
    """Everything random follows from it."""
    optimizer: OptimizerSpec = OptimizerSpec()
    """AdamW and its schedule."""
    lora: LoraSpec | None = None
    """Train low-rank adapters instead of every weight.  They want a learning rate about ten times as high."""
