"""From the rewards of a manifest to the functions that compute them: outcome, then length, then overlong.

P prompts, G completions per prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, cast

from torch import Tensor

from rlvr_api import lengths as api
from rlvr_api.resolved import Overlong, Resolved
from rlvr_trainer.algorithms import emphasis, lengths
from rlvr_trainer.algorithms.rewards import Answers, outcome_rewards
from rlvr_trainer.algorithms.targets import Targets

NO_TARGETS: Final[Mapping[str, int]] = MappingProxyType({})


def shaped_rewards(
    answers: Answers, step: int, targets: Mapping[str, int] = NO_TARGETS, *, resolved: Resolved, max_tokens: int
) -> Tensor:
    """Worth of the outcome, then the length reward, then the punishment of overlong completions."""
    worth = resolved.outcome_reward
    reward_PG = outcome_rewards(
        answers, correct=worth.correct, wrong=worth.wrong, malformed=worth.malformed, truncated=worth.truncated
    )
    if resolved.length_reward is not None:
        variant = resolved.length_reward.variant
        reward_PG = _length_reward(reward_PG, answers, variant=variant, step=step, targets=cast("Targets", targets))
    return reward_PG + _overlong(answers.lengths_PG, spec=resolved.overlong, max_tokens=max_tokens)


def _length_reward(
    base_PG: Tensor, answers: Answers, *, variant: api.LengthReward, step: int, targets: Targets
) -> Tensor:
    match variant:
        case api.LaserD():
            return _follow_targets(base_PG, answers, variant=variant, targets=targets)
        case api.Truncation() | api.ThinkPrune():
            return _truncate(base_PG, answers, variant=variant, step=step)
        case api.Efficient() | api.Kimi() | api.LongToShort():
            return _compare_in_group(base_PG, answers, variant=variant)
        case api.L1Exact() | api.L1Max() | api.Laser():
            return _compare_with_target(base_PG, answers, variant=variant)
        case api.O1Pruner():
            raise AssertionError("o1Pruner needs means of a reference model that nobody sampled; the API refuses it")


def _follow_targets(base_PG: Tensor, answers: Answers, *, variant: api.LaserD, targets: Targets) -> Tensor:
    """Laser-D and Laser-DE."""
    assert targets, "no length targets: the monitor prompts must be answered before the first step"
    correct_PG, lengths_PG, alpha = answers.correct_PG, answers.lengths_PG, variant.alpha
    target_PG = lengths.targets_of(correct_PG, lengths_PG, targets)
    if isinstance(variant, api.LaserDE):
        return lengths.laser_de(base_PG, correct_PG, lengths_PG, answers.readable_PG, target=target_PG, alpha=alpha)
    return lengths.laser(base_PG, correct_PG, lengths_PG, target=target_PG, alpha=alpha)


def _truncate(base_PG: Tensor, answers: Answers, *, variant: api.Truncation | api.ThinkPrune, step: int) -> Tensor:
    if isinstance(variant, api.Truncation):
        return lengths.truncation(base_PG, answers.lengths_PG, target=variant.target_tokens, beyond=variant.beyond)
    stage = min((step - 1) // variant.stage_steps, len(variant.target_tokens) - 1)
    return lengths.truncation(base_PG, answers.lengths_PG, target=variant.target_tokens[stage])


def _compare_in_group(
    base_PG: Tensor, answers: Answers, *, variant: api.Efficient | api.Kimi | api.LongToShort
) -> Tensor:
    correct_PG, lengths_PG = answers.correct_PG, answers.lengths_PG
    match variant:
        case api.Efficient(alpha=alpha, form=form):
            return lengths.efficient(base_PG, correct_PG, lengths_PG, alpha=alpha, form=form)
        case api.Kimi(coefficient=coefficient):
            return lengths.kimi(base_PG, correct_PG, lengths_PG, coefficient=coefficient)
        case api.LongToShort(strength=strength):
            return emphasis.long_to_short(base_PG, correct_PG, lengths_PG, strength=strength)


def _compare_with_target(base_PG: Tensor, answers: Answers, *, variant: api.L1Exact | api.L1Max | api.Laser) -> Tensor:
    correct_PG, lengths_PG, target, alpha = answers.correct_PG, answers.lengths_PG, variant.target_tokens, variant.alpha
    match variant:
        case api.L1Exact():
            return lengths.l1_exact(base_PG, lengths_PG, target=target, alpha=alpha)
        case api.L1Max(form="released"):
            return lengths.l1_max_released(correct_PG, lengths_PG, target=target, alpha=alpha)
        case api.L1Max(delta=delta):
            return lengths.l1_max(correct_PG, lengths_PG, target=target, alpha=alpha, delta=delta)
        case api.Laser():
            return lengths.laser(base_PG, correct_PG, lengths_PG, target=target, alpha=alpha)


def _overlong(lengths_PG: Tensor, *, spec: Overlong, max_tokens: int) -> Tensor | float:
    if not spec.enabled:
        return 0.0
    cache = max(1, round(spec.cache_fraction * max_tokens))
    return spec.penalty * lengths.soft_overlong(lengths_PG, max_tokens=max_tokens, cache=cache)
