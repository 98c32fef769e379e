"""Which rows share an update, which share a forward pass, and the tensors of one pass.

B rows of the step, M rows of a pass (a micro-batch), S positions, T completion tokens, N completion tokens in all.

Pure.  An update is a set of whole groups; how its rows are cut into forward passes changes nothing but speed.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from rlvr_trainer.learner.batching import Batch

Rows = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealing:
    """How often a step goes over its batch, in how many updates, and who decides about the order."""

    minibatches: int
    epochs: int
    seed: int
    token_budget: int
    """Positions of a pass, pads included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A step's rows, dealt."""

    whole: tuple[Rows, ...]
    """Passes over all rows."""
    updates: tuple[tuple[Rows, ...], ...]
    """Passes of each update."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MicroBatch:
    """Rows of a batch that go through the model together, shortened to the longest of them."""

    rows_M: Tensor
    tokens_MS: Tensor
    mask_MT: Tensor
    """Where a row has a completion token."""
    predictors_N: Tensor
    """Flat places in [M * S] whose hidden state predicts a completion token, row by row."""
    targets_N: Tensor

    def spread(self, values_N: Tensor) -> Tensor:
        """[M, T] with `values_N` where the mask is true and 0 elsewhere; differentiable."""
        return torch.zeros_like(self.mask_MT, dtype=values_N.dtype).masked_scatter(self.mask_MT, values_N)

    def of(self, values_BT: Tensor) -> Tensor:
        """[M, T] part of the batch's values."""
        return values_BT[self.rows_M, : self.mask_MT.shape[1]]

    def put(self, values_MT: Tensor, into_BT: Tensor) -> None:
        """The reverse of `of`."""
        into_BT[self.rows_M, : self.mask_MT.shape[1]] = values_MT


def plan_step(batch: Batch, dealing: Dealing, *, step: int) -> Plan:
    """Deal the rows of `batch` to the updates and passes of `step`."""
    lengths = (batch.prompt_lengths_B + batch.completion_lengths_B).tolist()
    size = batch.group_size

    def passes(groups: Iterable[int]) -> tuple[Rows, ...]:
        rows = [row for group in groups for row in range(group * size, (group + 1) * size)]
        return plan_passes(lengths, rows, token_budget=dealing.token_budget)

    deals = [
        split_groups(batch.num_groups, parts=dealing.minibatches, seed=dealing.seed, step=step, epoch=epoch)
        for epoch in range(dealing.epochs)
    ]
    return Plan(
        whole=passes(range(batch.num_groups)), updates=tuple(passes(groups) for deal in deals for groups in deal)
    )


def split_groups(num_groups: int, *, parts: int, seed: int, step: int, epoch: int) -> tuple[tuple[int, ...], ...]:
    """Groups of each update of an epoch: a shuffle that (seed, step, epoch) determine, cut as evenly as possible."""
    order = list(range(num_groups))
    random.Random(f"{seed} {step} {epoch}").shuffle(order)
    edges = [num_groups * part // parts for part in range(parts + 1)]
    return tuple(tuple(sorted(order[a:b])) for a, b in pairwise(edges) if a < b)


def plan_passes(lengths: Sequence[int], rows: Iterable[int], *, token_budget: int) -> tuple[Rows, ...]:
    """Rows of each forward pass: longest first, as many as fit `token_budget` when padded, at least one.

    `lengths` are positions of every row of the batch, prompt included; equals keep the order of their rows.
    """
    passes: list[list[int]] = []
    for row in sorted(rows, key=lambda row: (-lengths[row], row)):
        if not passes or (len(passes[-1]) + 1) * lengths[passes[-1][0]] > token_budget:
            passes.append([])
        passes[-1].append(row)
    return tuple(tuple(members) for members in passes)


def cut(batch: Batch, rows: Rows) -> MicroBatch:
    """The tensors of the given rows."""
    rows_M = torch.tensor(rows, device=batch.tokens_BS.device)
    prompt_M, completion_M = batch.prompt_lengths_B[rows_M], batch.completion_lengths_B[rows_M]
    tokens_MS = batch.tokens_BS[rows_M, : int((prompt_M + completion_M).max())]
    mask_MT = batch.mask_BT[rows_M, : int(completion_M.max())]
    first_M = torch.arange(len(rows), device=rows_M.device) * tokens_MS.shape[1] + prompt_M - 1
    predictors_N = (first_M[:, None] + torch.arange(mask_MT.shape[1], device=rows_M.device))[mask_MT]
    return MicroBatch(
        rows_M=rows_M,
        tokens_MS=tokens_MS,
        mask_MT=mask_MT,
        predictors_N=predictors_N,
        targets_N=tokens_MS.flatten()[predictors_N + 1],
    )
