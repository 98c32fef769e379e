"""One training step on any backend: a first look, the choice of tokens, then updates.

B rows of the step, M rows of a pass, T completion tokens, N completion tokens in all.

Losses are divided by the totals of the whole update, so how an update is cut into passes does not change it.  What the
starting policy thinks of a token (proximal log-probability, entropy) is found once per step; where there is a single
update and nothing is chosen by entropy, its own forward pass is that look.

Each rank computes its own rows.  What they found is added up, so afterwards every rank knows the whole step: tokens are
chosen over the whole batch, and every sum is the same on all ranks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from rlvr_trainer.algorithms.objective import Loss, Tokens, Totals
from rlvr_trainer.algorithms.ranking import Share
from rlvr_trainer.algorithms.recipe import Choice, Recipe
from rlvr_trainer.learner.backends.base import Backend, Diverged, Scorer
from rlvr_trainer.learner.batching import Batch
from rlvr_trainer.learner.microbatches import Deal, MicroBatch, Plan, Rows, cut
from rlvr_trainer.learner.ranks import ALONE, Ranks
from rlvr_trainer.learner.stopwatch import Stopwatch
from rlvr_trainer.learner.tally import Counts, Sums, Trace, pooled, tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Everything that decides how a step is taken, the same for all steps."""

    backend: Backend
    recipe: Recipe
    reference: Scorer | None
    """The frozen base model; present when the recipe compares with it."""
    ranks: Ranks = ALONE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What a policy thinks of every completion token; 0 where nobody looked yet."""

    logprob_BT: Tensor
    entropy_BT: Tensor

    @classmethod
    def nowhere(cls, batch: Batch) -> Self:
        return cls(logprob_BT=torch.zeros_like(batch.sampling_BT), entropy_BT=torch.zeros_like(batch.sampling_BT))

    def remember(self, micro: MicroBatch, logprob_N: Tensor, entropy_N: Tensor) -> None:
        micro.put(micro.spread(logprob_N.detach()), self.logprob_BT)
        micro.put(micro.spread(entropy_N.detach()), self.entropy_BT)

    def pooled(self, ranks: Ranks) -> Look:
        """The looks of all ranks, each at its own rows."""
        return Look(logprob_BT=ranks.add(self.logprob_BT), entropy_BT=ranks.add(self.entropy_BT))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """A step in progress: what is fixed before its first update."""

    batch: Batch
    start: Look
    """The policy that starts the step."""
    reference: Look | None
    choice: Choice
    has_looked: bool
    """Whether `start` was filled by a pass of its own."""
    trace: Trace

    def pooled(self, ranks: Ranks) -> Stage:
        """What all ranks know at the end of the step, each of its own rows."""
        start = self.start if self.has_looked else self.start.pooled(ranks)
        return replace(self, start=start, trace=self.trace.pooled(ranks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What one optimizer update found."""

    loss: float
    high: Counts
    """Tokens of the class of high entropy; without classes, those that receive a policy gradient."""
    low: Counts
    """All others."""
    gradient_norm: float

    @property
    def whole(self) -> Counts:
        return self.high + self.low


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Findings:
    """What a step found."""

    stage: Stage
    updates: tuple[Update, ...]


def take_step(batch: Batch, plan: Plan, method: Method, *, learning_rate: float, watch: Stopwatch) -> Findings:
    """Look, choose, update; Diverged when a loss or gradient is not finite."""
    with watch.phase("look"):
        stage = prepare(batch, plan, method)
    updates = []
    for number, deal in enumerate(plan.updates, start=1):
        try:
            updates.append(update(stage, deal, method, learning_rate=learning_rate, watch=watch))
        except Diverged as error:
            raise Diverged(f"update {number} of {len(plan.updates)}: {error}") from error
    return Findings(stage=stage.pooled(method.ranks), updates=tuple(updates))


def prepare(batch: Batch, plan: Plan, method: Method) -> Stage:
    """Everything that stays fixed during the step."""
    recipe, ranks, reference = method.recipe, method.ranks, method.reference
    has_looked = recipe.needs_entropy or len(plan.updates) > 1
    start = look(method.backend, batch, plan.whole.passes) if has_looked else Look.nowhere(batch)
    choice = choose(start.entropy_BT, batch, plan.whole, method)
    return Stage(
        batch=batch,
        start=start.pooled(ranks) if has_looked else start,
        reference=None if reference is None else look(reference, batch, plan.whole.passes).pooled(ranks),
        choice=choice,
        has_looked=has_looked,
        trace=Trace.of(batch.mask_BT, has_reference=reference is not None),
    )


@torch.no_grad()
def look(scorer: Scorer, batch: Batch, passes: Sequence[Rows]) -> Look:
    """What `scorer` thinks of every completion token of the batch."""
    seen = Look.nowhere(batch)
    for rows in passes:
        micro = cut(batch, rows)
        seen.remember(micro, *scorer.statistics(micro))
    return seen


def choose(entropy_BT: Tensor, batch: Batch, deal: Deal, method: Method) -> Choice:
    """Which tokens are treated how, decided over the rows that the recipe wants to see together.

    Of the entropies only those of this rank's rows need be there.
    """
    recipe, mask_BT, ranks = method.recipe, batch.mask_BT, method.ranks
    if not recipe.needs_entropy:
        return recipe.choose(entropy_BT, mask_BT)
    selected_BT, uncertain_BT = torch.zeros_like(mask_BT), torch.zeros_like(mask_BT)
    for rows in deal.passes if recipe.choice_scope == "microbatch" else (deal.own,):
        rows_M = torch.tensor(rows, dtype=torch.int64, device=mask_BT.device)
        part = recipe.choose(entropy_BT[rows_M], mask_BT[rows_M], of=Share(rows_B=rows_M, add=ranks.add))
        selected_BT[rows_M], uncertain_BT[rows_M] = part.selected_BT, part.uncertain_BT
    return Choice(selected_BT=pooled(selected_BT, ranks), uncertain_BT=pooled(uncertain_BT, ranks))


def update(stage: Stage, deal: Deal, method: Method, *, learning_rate: float, watch: Stopwatch) -> Update:
    """Add up the gradients of all passes, then take one optimizer step."""
    totals, sums = totals_of(stage, deal.rows), []
    stage.trace.forget(deal.rows)
    for rows in deal.passes:
        micro = cut(stage.batch, rows)
        with watch.phase("forward"):
            part = loss_of(stage, micro, totals, method)
        with watch.phase("backward"):
            method.backend.backward(part.total)
        sums.append(Sums.of(part, tallied=take_note(stage, micro, part, method.recipe)))
    found = Sums.all(sums, method.ranks)
    if not math.isfinite(found.loss):
        raise Diverged(f"the loss is {found.loss}")
    with watch.phase("update"):
        gradient_norm = method.backend.update(learning_rate=learning_rate)
    high, low = found.counts(has_reference=stage.reference is not None)
    return Update(loss=found.policy, high=high, low=low, gradient_norm=gradient_norm)


def totals_of(stage: Stage, rows: Rows) -> Totals:
    """What the losses of an update are divided by, on every rank alike."""
    mask_BT, choice = stage.batch.mask_BT, stage.choice
    rows_U = torch.tensor(rows, device=mask_BT.device)
    counts = [mask_BT[rows_U].sum(), choice.selected_BT[rows_U].sum(), choice.uncertain_BT[rows_U].sum()]
    num_tokens, num_selected, num_uncertain = torch.stack(counts).tolist()
    return Totals(
        num_sequences=len(rows), num_tokens=num_tokens, num_selected=num_selected, num_uncertain=num_uncertain
    )


def loss_of(stage: Stage, micro: MicroBatch, totals: Totals, method: Method) -> Loss:
    """One pass's share of the update's loss."""
    logprob_N, entropy_N = method.backend.statistics(micro)
    if not stage.has_looked:
        stage.start.remember(micro, logprob_N, entropy_N)
    tokens = Tokens(
        logprob_MT=micro.spread(logprob_N),
        entropy_MT=micro.spread(entropy_N),
        proximal_MT=micro.of(stage.start.logprob_BT),
        reference_MT=None if stage.reference is None else micro.of(stage.reference.logprob_BT),
        advantage_M1=stage.batch.advantage_B1[micro.rows_M],
        weight_MT=importance_weights(stage, micro, method.recipe),
        mask_MT=micro.mask_MT,
        selected_MT=micro.of(stage.choice.selected_BT),
        uncertain_MT=micro.of(stage.choice.uncertain_BT),
    )
    return method.recipe.loss(tokens, totals)


def take_note(stage: Stage, micro: MicroBatch, part: Loss, recipe: Recipe) -> Tensor:
    """What became of the tokens of a pass."""
    selected_MT = micro.of(stage.choice.selected_BT)
    stage.trace.remember(micro, part.facts, selected_MT)
    high_MT = part.facts.uncertain_MT if recipe.has_classes else selected_MT
    return tally(part.facts, micro.mask_MT, selected_MT, high_MT)


def importance_weights(stage: Stage, micro: MicroBatch, recipe: Recipe) -> Tensor:
    """[M, T] corrections of the mismatch between rollout and learner; ones without a correction."""
    mismatch_MT = micro.of(stage.start.logprob_BT) - micro.of(stage.batch.sampling_BT)
    if recipe.importance_weights is None:
        return torch.ones_like(mismatch_MT)
    return recipe.importance_weights(mismatch_MT, micro.mask_MT)
