"""How verdicts become gradient, as a user writes it: a preset and what differs from it.

Classes named `...Spec` leave every number to the preset; a variant (`mgpo`, `topEntropy`, `archer`, `aspo`, the length
rewards) has its paper's numbers as defaults.  `recipe.resolve` fills everything in and says where each came from.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rlvr_api.base import Model, Rule
from rlvr_api.lengths import LengthRewardSpec
from rlvr_api.quantities import NonNegative, Share

Preset = Literal["grpo", "dapo", "drGrpo", "gspo", "highEntropy20", "archer", "laser", "laserD", "laserDE", "mgpo"]
AdvantageKind = Literal["groupNormalized", "centered", "leaveOneOut"]
Reduction = Literal["tokenMean", "sequenceTokenMean", "sequenceTokenSum", "constant"]
Estimator = Literal["k2", "k3"]
Reward = Annotated[float, Field(ge=-100, le=100)]
OpenShare = Annotated[float, Field(gt=0, le=1)]


class OutcomeRewardSpec(Model):
    """What each outcome is worth before shaping."""

    correct: Reward | None = None
    """A right answer (score 1)."""
    wrong: Reward | None = None
    """A readable wrong answer (score 0); a score in between is interpolated."""
    malformed: Reward | None = None
    """No answer could be read."""
    truncated: Reward | None = None
    """Cut off by the token limit before an answer could be read."""


class AdvantageSpec(Model):
    """How much better a completion is than its siblings."""

    kind: AdvantageKind | None = None
    """(R - mean) / std, R - mean, or R - mean of the others."""
    ddof: Annotated[int, Field(ge=0, le=1)] | None = None
    """1 divides the variance by G - 1, 0 by G (groupNormalized)."""
    epsilon: NonNegative | None = None
    """Added to the standard deviation (groupNormalized)."""


class OverlongSpec(Model):
    """Punishment of completions that come close to the token limit."""

    enabled: bool | None = None
    """Whether to punish them."""
    cache_fraction: OpenShare | None = None
    """Last share of rollout.sampling.maxTokens over which the punishment grows from 0 to `penalty`."""
    penalty: NonNegative | None = None
    """Punishment at the limit; subtracted from the reward."""


class Mgpo(Model):
    """Groups near one accuracy count most: weight exp(-strength KL(accuracy || center))."""

    strength: NonNegative = 1.0
    """Lambda; 0 weighs all groups alike."""
    center: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Accuracy that counts most."""


class EmphasisSpec(Model):
    """Which groups count for more."""

    mgpo: Mgpo | None = None
    """Groups near one accuracy count most."""


class TopEntropy(Model):
    """Only the tokens at which the policy was undecided."""

    fraction: OpenShare = 0.2
    """Share of completion tokens kept, highest entropy first."""
    scope: Literal["batch", "sequence", "microbatch"] = "batch"
    """Over which tokens the ranking is made.  `batch` does not depend on the number of GPUs."""
    denominator: Literal["selected", "all"] = "selected"
    """Divide the loss by the kept tokens, or by all completion tokens (a smaller step)."""
    method: Literal["exact", "quantile"] = "exact"
    """`exact` keeps exactly the share; `quantile` keeps every token at or above the threshold, ties included."""


class TokenSelectionSpec(Model):
    """Which tokens receive a policy gradient."""

    top_entropy: TopEntropy | None = None
    """Only the tokens at which the policy was undecided."""


class Archer(Model):
    """Two trust regions by entropy: loose for reasoning tokens, tight for knowledge tokens."""

    quantile: Share = 0.8
    """Tokens above this entropy quantile of their own completion are reasoning tokens."""
    ties: Literal["low", "high"] = "low"
    """Class of tokens exactly at the quantile.  Where most entropies are equal, `high` makes nearly all of them
    reasoning tokens."""
    clip_high_entropy: NonNegative = 0.5
    """Clip range of reasoning tokens, on both sides."""
    clip_low_entropy: Share = 0.2
    """Clip range of knowledge tokens, on both sides."""
    kl_high_entropy: NonNegative = 0.0
    """KL coefficient of reasoning tokens."""
    kl_low_entropy: NonNegative = 0.001
    """KL coefficient of knowledge tokens."""
    kl_normalization: Literal["tokens", "classes"] = "tokens"
    """`tokens` averages the KL term over all tokens, as in the paper; `classes` averages it over each class by itself,
    as in the released code."""
    entropy_source: Literal["start", "update"] = "start"
    """Policy whose entropies decide: the one that starts the step, or, as in the released code, the one being updated,
    so that a token may change its class between updates."""


class Aspo(Model):
    """Weight 1/ratio where the advantage is positive, ratio where it is negative."""

    cap: Annotated[float, Field(ge=1)] = 3.0
    """Largest weight."""


class TrustRegionSpec(Model):
    """How far one step may move the policy."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.dualClip) || self.dualClip == 0.0 || self.dualClip > 1.0",
            message="dualClip {dualClip} must be above 1, or 0 to turn it off",
            holds=lambda region: region.dual_clip is None or region.dual_clip == 0 or region.dual_clip > 1,
            field="dualClip",
        ),
    )

    clip_low: Share | None = None
    """The ratio is clipped below 1 - clipLow."""
    clip_high: NonNegative | None = None
    """The ratio is clipped above 1 + clipHigh."""
    dual_clip: NonNegative | None = None
    """Bound of the ratio where the advantage is negative; 0 turns it off."""
    ratio: Literal["token", "sequence"] | None = None
    """Probability ratio of each token, or of the completion (geometric mean, GSPO)."""
    archer: Archer | None = None
    """Two trust regions by entropy; replaces clipLow and clipHigh."""
    aspo: Aspo | None = None
    """Asymmetric importance weights."""


class KlSpec(Model):
    """Pull towards the base model."""

    coefficient: NonNegative | None = None
    """Weight of the KL term in the loss; 0 needs no reference model."""
    estimator: Estimator | None = None
    """k2 = squared log-ratio / 2; k3 = exp(d) - d - 1 with d = reference - policy, never negative."""


class ImportanceSamplingSpec(Model):
    """Correction of the difference between the engine's and the learner's log-probabilities."""

    mode: Literal["off", "truncate", "mask"] | None = None
    """`truncate` caps the weight, `mask` drops what lies outside [1/cap, cap]."""
    level: Literal["token", "sequence", "geometric"] | None = None
    """One weight per token, the product over the completion, or its geometric mean."""
    cap: Annotated[float, Field(ge=1)] | None = None
    """Largest weight."""
    veto: Annotated[float, Field(ge=0, lt=1)] | None = None
    """A completion with any token whose ratio is below this weighs nothing; 0 turns it off."""


class DynamicSamplingSpec(Model):
    """Groups that are all right or all wrong are dropped and others sampled in their place."""

    enabled: bool | None = None
    """Whether to drop them.  Judged by correctness, never by shaped rewards."""


class EntropyBonusSpec(Model):
    """Reward for staying undecided."""

    coefficient: NonNegative | None = None
    """Weight of the mean token entropy, subtracted from the loss."""


class AlgorithmSpec(Model):
    """How verdicts become gradient: a preset, and what differs from it."""

    preset: Preset = "grpo"
    """Published recipe that everything absent below is taken from."""
    outcome_reward: OutcomeRewardSpec | None = None
    """What each outcome is worth before shaping."""
    length_reward: LengthRewardSpec | None = None
    """How the length of a completion enters its reward.  Replaces the preset's."""
    overlong: OverlongSpec | None = None
    """Punishment of completions that come close to the token limit."""
    advantage: AdvantageSpec | None = None
    """How much better a completion is than its siblings."""
    emphasis: EmphasisSpec | None = None
    """Which groups count for more."""
    token_selection: TokenSelectionSpec | None = None
    """Which tokens receive a policy gradient."""
    trust_region: TrustRegionSpec | None = None
    """How far one step may move the policy."""
    kl: KlSpec | None = None
    """Pull towards the base model."""
    importance_sampling: ImportanceSamplingSpec | None = None
    """Correction of the difference between the engine's and the learner's log-probabilities."""
    reduction: Reduction | None = None
    """How token losses are added up: mean over all tokens (DAPO); mean over completions of token means (GRPO) or of
    token sums; or sum divided by completions times rollout.sampling.maxTokens (Dr.GRPO)."""
    dynamic_sampling: DynamicSamplingSpec | None = None
    """Groups that are all right or all wrong are dropped and others sampled in their place."""
    entropy_bonus: EntropyBonusSpec | None = None
    """Reward for staying undecided."""
