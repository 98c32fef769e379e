"""Recipes, answers and token batches for tests of the algorithms; every number follows from a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

import thread_ranks
from rlvr_api.algorithm import AlgorithmSpec
from rlvr_api.recipe import resolve
from rlvr_trainer.algorithms.objective import Loss, Tokens, Totals
from rlvr_trainer.algorithms.ranking import Share
from rlvr_trainer.algorithms.recipe import Recipe, build
from rlvr_trainer.algorithms.rewards import Answers

Result = TypeVar("Result")


def a_recipe(preset: str, *, max_tokens: int = 20480, **overrides: Any) -> Recipe:
    return build(resolve(AlgorithmSpec.model_validate({"preset": preset, **overrides})), max_tokens=max_tokens)


def some_answers(
    correct: list[list[int]], lengths: list[list[float]], malformed: list[list[int]] | None = None
) -> Answers:
    correct_PG = torch.tensor(correct, dtype=torch.bool)
    malformed_PG = torch.tensor(malformed or torch.zeros_like(correct_PG).tolist(), dtype=torch.bool)
    return Answers(
        score_PG=correct_PG.double(),
        correct_PG=correct_PG,
        malformed_PG=malformed_PG,
        truncated_PG=torch.zeros_like(correct_PG),
        lengths_PG=torch.tensor(lengths),
    )


def random_answers(seed: int, *, prompts: int = 3, completions: int = 6) -> Answers:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(3, prompts, completions, generator=generator, dtype=torch.float64)
    correct_PG, malformed_PG = noise[0] < 0.5, (noise[0] >= 0.5) & (noise[1] < 0.3)
    return Answers(
        score_PG=correct_PG.double(),
        correct_PG=correct_PG,
        malformed_PG=malformed_PG,
        truncated_PG=(noise[0] >= 0.5) & (noise[1] >= 0.8),
        lengths_PG=(noise[2] * 200).long() + 1,
    )


def random_tokens(recipe: Recipe, *, seed: int = 9, rows: int = 6, width: int = 9) -> Tokens:
    """Sequences of 0 to `width` tokens, off-policy, with every term at work; one at least is full."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(4, rows, width, generator=generator, dtype=torch.float64)
    lengths = torch.randint(0, width + 1, (rows,), generator=generator)
    lengths[seed % rows] = width
    mask_MT = torch.arange(width)[None] < lengths[:, None]
    choice = recipe.choose(noise[3], mask_MT)
    return Tokens(
        logprob_MT=(-noise[0]).requires_grad_(),
        entropy_MT=noise[3].clone().requires_grad_(),
        proximal_MT=-noise[0] + 1.4 * (noise[1] - 0.5),
        reference_MT=-noise[2],
        advantage_M1=torch.randn(rows, 1, generator=generator, dtype=torch.float64),
        weight_MT=0.5 + noise[2],
        mask_MT=mask_MT,
        selected_MT=choice.selected_BT,
        uncertain_MT=choice.uncertain_BT,
    )


def totals_of(tokens: Tokens) -> Totals:
    return Totals(
        num_sequences=len(tokens.mask_MT),
        num_tokens=int(tokens.mask_MT.sum()),
        num_selected=int(tokens.selected_MT.sum()),
        num_uncertain=int(tokens.uncertain_MT.sum()),
    )


def rows_of(tokens: Tokens, rows: Tensor | slice) -> Tokens:
    fields = {name: getattr(tokens, name) for name in Tokens.__dataclass_fields__}
    return Tokens(**{name: None if value is None else value[rows] for name, value in fields.items()})


def gradient(loss: Loss, tokens: Tokens) -> Tensor:
    (grad_MT,) = torch.autograd.grad(loss.total, tokens.logprob_MT)
    return grad_MT


def on_ranks(places: Sequence[Tensor], work: Callable[[int, Share], Result]) -> list[Result]:
    """`work(rank, share)` for every rank at once, each with its rows; sums are made as an all-reduce makes them."""
    return thread_ranks.on_ranks(
        len(places), lambda ranks: work(ranks.rank, Share(rows_B=places[ranks.rank], add=ranks.add))
    )
