"""Which rows share an update, which rank computes them in which forward pass, and the tensors of one pass.

B rows of the step, M rows of a pass (a micro-batch), S positions, T completion tokens, N completion tokens in all.

Pure.  An update is a set of whole groups; how its rows are dealt to ranks and cut into forward passes changes nothing
but speed.  All ranks make equally many passes, for a sharded model is gathered by all of them together.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from rlvr_trainer.learner.batching import Batch
from rlvr_trainer.learner.ranks import ALONE, Ranks

Rows = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealing:
    """How often a step goes over its batch, in how many updates, and who decides about the order."""

    minibatches: int
    epochs: int
    seed: int
    token_budget: int
    """Positions of a pass, pads included."""
    packs: bool = False
    """Whether rows of a pass lie end to end, without pads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deal:
    """Rows that all ranks compute together."""

    rows: Rows
    """Of all ranks."""
    passes: tuple[Rows, ...]
    """This rank's, as many as every other rank has; empty ones where it has no rows left."""

    @property
    def own(self) -> Rows:
        return tuple(row for rows in self.passes for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A step's rows, dealt to one rank."""

    whole: Deal
    """Once over all rows."""
    updates: tuple[Deal, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MicroBatch:
    """Rows of a batch that go through the model together, shortened to the longest of them."""

    rows_M: Tensor
    tokens_MS: Tensor
    lengths_M: Tensor
    """Positions of each row before its pads; of an idle pass, 1 for the token that it has."""
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


def plan_step(batch: Batch, dealing: Dealing, *, step: int, ranks: Ranks = ALONE) -> Plan:
    """Deal the rows of `batch` to the updates and passes of `step`."""
    lengths = (batch.prompt_lengths_B + batch.completion_lengths_B).tolist()
    size = batch.group_size

    def dealt(groups: Iterable[int]) -> Deal:
        rows = tuple(row for group in groups for row in range(group * size, (group + 1) * size))
        return deal(lengths, rows, dealing=dealing, ranks=ranks)

    epochs = [
        split_groups(batch.num_groups, parts=dealing.minibatches, seed=dealing.seed, step=step, epoch=epoch)
        for epoch in range(dealing.epochs)
    ]
    return Plan(
        whole=dealt(range(batch.num_groups)), updates=tuple(dealt(groups) for parts in epochs for groups in parts)
    )


def deal(lengths: Sequence[int], rows: Rows, *, dealing: Dealing, ranks: Ranks) -> Deal:
    """What this rank does of `rows`."""
    plan = pack_passes if dealing.packs else plan_passes
    passes = [
        plan(lengths, hand, token_budget=dealing.token_budget) for hand in hand_out(lengths, rows, num_ranks=ranks.size)
    ]
    idle = max(map(len, passes)) - len(passes[ranks.rank])
    return Deal(rows=rows, passes=passes[ranks.rank] + ((),) * idle)


def hand_out(lengths: Sequence[int], rows: Iterable[int], *, num_ranks: int) -> tuple[Rows, ...]:
    """Rows of each rank: longest first, each to the rank with the fewest positions so far."""
    hands: list[list[int]] = [[] for _ in range(num_ranks)]
    loads = [(0, rank) for rank in range(num_ranks)]
    for row in sorted(rows, key=lambda row: (-lengths[row], row)):
        load, rank = loads[0]
        hands[rank].append(row)
        heapq.heapreplace(loads, (load + lengths[row], rank))
    return tuple(map(tuple, hands))


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


def pack_passes(lengths: Sequence[int], rows: Iterable[int], *, token_budget: int) -> tuple[Rows, ...]:
    """The same for rows that lie end to end: longest first, each into the first pass that has room for it."""
    passes: list[list[int]] = []
    rooms: list[int] = []
    for row in sorted(rows, key=lambda row: (-lengths[row], row)):
        fits = next((index for index, room in enumerate(rooms) if lengths[row] <= room), None)
        if fits is None:
            passes.append([row])
            rooms.append(token_budget - lengths[row])
        else:
            passes[fits].append(row)
            rooms[fits] -= lengths[row]
    return tuple(map(tuple, passes))


def cut(batch: Batch, rows: Rows) -> MicroBatch:
    """The tensors of the given rows; without rows, a pass over one token that predicts nothing."""
    device = batch.tokens_BS.device
    rows_M = torch.tensor(rows, dtype=torch.int64, device=device)
    prompt_M, completion_M = batch.prompt_lengths_B[rows_M], batch.completion_lengths_B[rows_M]
    if not rows:
        return _idle(batch, rows_M)
    tokens_MS = batch.tokens_BS[rows_M, : int((prompt_M + completion_M).max())]
    mask_MT = batch.mask_BT[rows_M, : int(completion_M.max())]
    first_M = torch.arange(len(rows), device=device) * tokens_MS.shape[1] + prompt_M - 1
    predictors_N = (first_M[:, None] + torch.arange(mask_MT.shape[1], device=device))[mask_MT]
    return MicroBatch(
        rows_M=rows_M,
        tokens_MS=tokens_MS,
        lengths_M=prompt_M + completion_M,
        mask_MT=mask_MT,
        predictors_N=predictors_N,
        targets_N=tokens_MS.flatten()[predictors_N + 1],
    )


def _idle(batch: Batch, nothing: Tensor) -> MicroBatch:
    return MicroBatch(
        rows_M=nothing,
        tokens_MS=batch.tokens_BS[:1, :1],
        lengths_M=torch.ones(1, dtype=torch.int64, device=nothing.device),
        mask_MT=batch.mask_BT[nothing, :1],
        predictors_N=nothing,
        targets_N=nothing,
    )
