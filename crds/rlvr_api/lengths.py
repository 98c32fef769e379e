"""The length reward of an algorithm: the family C + lambda S of Laser (2505.15612, table 2) and its relatives.

Lengths are completion tokens with the end token.  A number that no paper gives is required here.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rlvr_api.base import Model, Rule, exactly_one_of
from rlvr_api.quantities import NonNegative, Positive

Form = Literal["paper", "released"]
"""Where a paper and its released code disagree."""


class Truncation(Model):
    """No reward beyond a length."""

    target_tokens: Positive
    """Longest completion that keeps its reward."""
    beyond: float = 0.0
    """Reward of longer ones."""


class ThinkPrune(Model):
    """Truncation at lengths that shrink in stages."""

    target_tokens: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1, max_length=16)] = (
        4096,
        3072,
        2048,
    )
    """Target of each stage, falling."""
    stage_steps: Positive
    """Steps per stage."""


class Efficient(Model):
    """Correct completions longer than their group's correct mean lose reward."""

    alpha: NonNegative = 0.1
    """Largest loss."""
    form: Form = "paper"
    """`paper` subtracts the loss; `released` (Laser's code) multiplies the reward by 1 - loss, the same where a correct
    completion is worth 1."""


class Kimi(Model):
    """Shortest of the group +1/2, longest -1/2; wrong ones never gain."""

    coefficient: NonNegative = 1.0
    """Weight of the length term."""


class L1Exact(Model):
    """Distance from a target length is punished."""

    target_tokens: Positive
    """The wanted length."""
    alpha: NonNegative = 3e-4
    """Loss per token of distance."""


class L1Max(Model):
    """A correct completion is worth more the further it stays below a target length."""

    target_tokens: Positive
    """The wanted upper bound."""
    alpha: NonNegative = 3e-4
    """Gain per token."""
    delta: NonNegative = 0.5
    """Reward at exactly the target."""
    form: Form = "paper"
    """`paper` clips alpha * room + delta to [0, 1]; `released` (L1's code) is 1/2 + clip(alpha * room, -1, 1) / 2,
    without delta."""


class O1Pruner(Model):
    """Shorter than the reference model without being less accurate."""

    accuracy_weight: NonNegative
    """Weight of the accuracy term against Lref / L - 1."""
    completions: Positive
    """Completions per prompt that the reference model's means are taken over, before training."""


class LongToShort(Model):
    """Reward moves from long to short correct completions of a group; the sum stays."""

    strength: NonNegative = 0.2
    """Largest shift."""


class Laser(Model):
    """Correct completions within a target length earn a bonus."""

    target_tokens: Positive = 8192
    """Longest completion that earns it."""
    alpha: NonNegative = 0.5
    """The bonus."""


class LaserD(Model):
    """As laser, with a target per difficulty that follows the policy."""

    alpha: NonNegative = 0.5
    """The bonus."""
    lowest_tokens: Positive = 4096
    """Smallest candidate target."""
    grid_step: Positive = 1024
    """Distance of candidate targets."""
    monitor_prompts: Positive = 500
    """Training prompts that the targets are measured on."""
    monitor_completions: Positive = 8
    """Completions per monitor prompt."""
    monitor_every: Positive = 20
    """Steps between measurements; the first is before training."""
    rounding: Literal["ceil", "floor"] = "ceil"
    """Of the fewest correct completions of a bucket: `ceil` as in the paper, `floor` as in the released code."""


class LaserDE(LaserD):
    """As laserD; wrong but readable completions beyond the target earn the bonus too."""


LengthReward = (
    Truncation | ThinkPrune | Efficient | Kimi | L1Exact | L1Max | O1Pruner | LongToShort | Laser | LaserD | LaserDE
)


class LengthRewardSpec(Model):
    """How the length of a completion enters its reward."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one_of(
            "truncation",
            "think_prune",
            "efficient",
            "kimi",
            "l1_exact",
            "l1_max",
            "o1_pruner",
            "long_to_short",
            "laser",
            "laser_d",
            "laser_de",
        ),
    )

    truncation: Truncation | None = None
    """No reward beyond a length."""
    think_prune: ThinkPrune | None = None
    """Truncation at lengths that shrink in stages."""
    efficient: Efficient | None = None
    """Correct completions longer than their group's correct mean lose reward."""
    kimi: Kimi | None = None
    """Shortest of the group +1/2, longest -1/2; wrong ones never gain."""
    l1_exact: L1Exact | None = None
    """Distance from a target length is punished."""
    l1_max: L1Max | None = None
    """A correct completion is worth more the further it stays below a target length."""
    o1_pruner: O1Pruner | None = None
    """Shorter than the reference model without being less accurate."""
    long_to_short: LongToShort | None = None
    """Reward moves from long to short correct completions of a group."""
    laser: Laser | None = None
    """Correct completions within a target length earn a bonus."""
    laser_d: LaserD | None = None
    """As laser, with a target per difficulty that follows the policy."""
    laser_de: LaserDE | None = None
    """As laserD; wrong but readable completions beyond the target earn the bonus too."""

    @property
    def variant(self) -> LengthReward:
        """The one that is set."""
        chosen: LengthReward = next(member for _, member in self if member is not None)
        return chosen
