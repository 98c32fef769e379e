"""How certain the policy is of its tokens: entropies of a step's batch, from the pass that starts it.

B rows, T completion tokens, N completion tokens in all.  For the record only: what is selected is decided before, in
algorithms/entropy.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from torch import Tensor

from rlvr_trainer.algorithms.recipe import Recipe
from rlvr_trainer.learner.step import Stage
from rlvr_trainer.metrics import labelled
from rlvr_trainer.samples import Fork, Tokens

_PERCENTS: Final = tuple(range(0, 101, 5))
_FORKS: Final = 20
_FEWEST: Final = 10
"""A token that a step has less often says nothing about itself."""

Numbers = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
Found = Iterator[tuple[str, float]]


def of_entropy(stage: Stage, recipe: Recipe) -> Found:
    """Metrics of the entropies, and of what the recipe made of them."""
    mask_BT = stage.batch.mask_BT
    entropy_N = _numbers(stage.start.entropy_BT[mask_BT])
    yield "rlvr_learner_entropy_nats", float(entropy_N.mean(dtype=np.float64))
    for percent, value in zip(_PERCENTS, np.percentile(entropy_N, _PERCENTS), strict=True):
        yield labelled("rlvr_learner_entropy_quantile_nats", quantile=f"{percent / 100:g}"), float(value)
    if recipe.selects:
        selected_N = stage.choice.selected_BT[mask_BT].cpu().numpy()
        yield "rlvr_learner_entropy_threshold_nats", float(entropy_N.min(where=selected_N, initial=np.inf))
        yield from _by_completion(stage)
    if recipe.needs_entropy:
        high_BT = stage.choice.uncertain_BT if recipe.has_classes else stage.choice.selected_BT
        yield from _by_class(entropy_N, high_BT[mask_BT].cpu().numpy())
    if recipe.has_classes:
        yield from _class_thresholds(stage)


def forks_of(stage: Stage, tokens_N: Tokens) -> tuple[Fork, ...]:
    """Tokens at which the policy is least certain, among those the step has often; the least certain first."""
    entropy_N = _numbers(stage.start.entropy_BT[stage.batch.mask_BT])
    counts_V = np.bincount(tokens_N)
    frequent_K = np.flatnonzero(counts_V >= _FEWEST)
    mean_K = (np.bincount(tokens_N, weights=entropy_N) / counts_V.clip(min=1))[frequent_K]
    leading = np.argsort(-mean_K, kind="stable")[:_FORKS]
    return tuple(
        Fork(token=int(frequent_K[k]), count=int(counts_V[frequent_K[k]]), entropy=float(mean_K[k])) for k in leading
    )


def _by_completion(stage: Stage) -> Found:
    share_B = _numbers(stage.choice.selected_BT.sum(1) / stage.batch.mask_BT.sum(1))
    yield from _statistics("rlvr_learner_selected_by_completion_ratio", share_B)


def _by_class(entropy_N: Numbers, high_N: Flags) -> Found:
    yield "rlvr_learner_high_entropy_tokens_ratio", float(high_N.mean())
    for name, members_N in (("high", high_N), ("low", ~high_N)):
        if members_N.any():
            mean = float(entropy_N[members_N].mean(dtype=np.float64))
            yield labelled("rlvr_learner_entropy_by_class_nats", **{"class": name}), mean


def _class_thresholds(stage: Stage) -> Found:
    """Of the completions that have tokens of high entropy."""
    high_BT = stage.choice.uncertain_BT
    lowest_B = stage.start.entropy_BT.masked_fill(~high_BT, float("inf")).amin(1)
    lowest_B = lowest_B[high_BT.any(1)]
    if len(lowest_B):
        yield from _statistics("rlvr_learner_entropy_class_threshold_nats", _numbers(lowest_B))


def _statistics(name: str, values: Numbers) -> Found:
    for statistic, value in (("min", values.min()), ("mean", values.mean(dtype=np.float64)), ("max", values.max())):
        yield labelled(name, statistic=statistic), float(value)


def _numbers(values: Tensor) -> Numbers:
    found: Numbers = values.cpu().numpy()
    return found
