"""An algorithm with nothing left out, and where every number came from.

The shape is that of `AlgorithmSpec`: written out as a manifest, it resolves to itself.
"""

from __future__ import annotations

from typing import Literal

from rlvr_api.algorithm import (
    AdvantageKind,
    AdvantageSpec,
    AlgorithmSpec,
    DynamicSamplingSpec,
    EntropyBonusSpec,
    Estimator,
    ImportanceSamplingSpec,
    KlSpec,
    OutcomeRewardSpec,
    OverlongSpec,
    Reduction,
    TrustRegionSpec,
)


class OutcomeReward(OutcomeRewardSpec):
    correct: float
    wrong: float
    malformed: float
    truncated: float

    def interpolated(self, score: float) -> float:
        """Reward of a readable answer with a score from 0 (wrong) to 1 (correct)."""
        return self.wrong + score * (self.correct - self.wrong)


class Overlong(OverlongSpec):
    enabled: bool
    cache_fraction: float
    penalty: float


class Advantage(AdvantageSpec):
    kind: AdvantageKind
    ddof: int
    epsilon: float


class TrustRegion(TrustRegionSpec):
    clip_low: float
    clip_high: float
    dual_clip: float
    ratio: Literal["token", "sequence"]


class Kl(KlSpec):
    coefficient: float
    estimator: Estimator


class ImportanceSampling(ImportanceSamplingSpec):
    mode: Literal["off", "truncate", "mask"]
    level: Literal["token", "sequence", "geometric"]
    cap: float
    veto: float


class DynamicSampling(DynamicSamplingSpec):
    enabled: bool


class EntropyBonus(EntropyBonusSpec):
    coefficient: float


class Resolved(AlgorithmSpec):
    """Every number of an algorithm.  An absent variant (length reward, emphasis, token selection) is not used."""

    outcome_reward: OutcomeReward
    overlong: Overlong
    advantage: Advantage
    trust_region: TrustRegion
    kl: Kl
    importance_sampling: ImportanceSampling
    reduction: Reduction
    dynamic_sampling: DynamicSampling
    entropy_bonus: EntropyBonus
    sources: dict[str, str]
    """Where each number came from, by its path in the manifest below `algorithm`."""

    @property
    def needs_reference(self) -> bool:
        """Whether any term of the loss compares with the base model."""
        archer = self.trust_region.archer
        by_entropy = archer is not None and max(archer.kl_high_entropy, archer.kl_low_entropy) > 0
        return self.kl.coefficient > 0 or by_entropy
