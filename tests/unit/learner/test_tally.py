"""Counts by class, on three tokens of high entropy and two of low in one pass."""

from collections.abc import Sequence

import pytest
import torch

from learning import a_completion, a_recipe, a_scored_group, facts_of
from rlvr_trainer.algorithms.objective import TokenFacts
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.microbatches import cut
from rlvr_trainer.learner.ranks import ALONE, Ranks
from rlvr_trainer.learner.tally import Counts, Sums, Trace, tally
from rlvr_trainer.samples import Outcome
from thread_ranks import on_ranks

MASK = torch.tensor([[1, 1, 1], [1, 1, 0]], dtype=torch.bool)
HIGH = torch.tensor([[1, 1, 0], [0, 1, 1]], dtype=torch.bool)
SELECTED = torch.tensor([[1, 1, 0], [1, 0, 0]], dtype=torch.bool)


def flags(*rows: list[int]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.bool)


def some_facts(*, k3: bool = True) -> TokenFacts:
    return TokenFacts(
        clipped_low_MT=flags([1, 0, 0], [0, 1, 1]),
        clipped_high_MT=flags([0, 0, 1], [1, 0, 1]),
        dual_clipped_MT=flags([0, 1, 0], [0, 0, 1]),
        uncertain_MT=HIGH,
        k3_MT=torch.tensor([[0.5, 0.25, 1.0], [2.0, 4.0, 100.0]]) if k3 else None,
    )


def counts_of(passes: Sequence[torch.Tensor], *, has_reference: bool) -> tuple[Counts, Counts]:
    sums = [Sums(losses_2=torch.zeros(2).double(), classes_26=tallied) for tallied in passes]
    return Sums.all(sums, ALONE).counts(has_reference=has_reference)


def test_tokens_are_counted_by_class_and_what_stopped_them() -> None:
    high, low = counts_of([tally(some_facts(), MASK, SELECTED, HIGH)], has_reference=True)

    assert high == Counts(num_tokens=3, num_selected=2, num_lower=1, num_upper=0, num_dual=1, kl_nats=4.75)
    assert low == Counts(num_tokens=2, num_selected=1, num_lower=0, num_upper=1, num_dual=0, kl_nats=3.0)


def test_passes_and_classes_add_up() -> None:
    one = tally(some_facts(), MASK, SELECTED, HIGH)
    high, low = counts_of([one, one], has_reference=True)

    whole = high + low
    assert whole == Counts(num_tokens=10, num_selected=6, num_lower=2, num_upper=2, num_dual=2, kl_nats=15.5)
    assert whole.num_clipped == 4


def test_without_a_reference_there_is_no_divergence_from_it() -> None:
    high, low = counts_of([tally(some_facts(k3=False), MASK, SELECTED, HIGH)], has_reference=False)

    assert high.kl_nats is None and (high + low).kl_nats is None


@pytest.mark.parametrize("kl", ["kl", ""])
def test_every_token_keeps_what_its_last_update_found(kl: str) -> None:
    """The pass holds the rows in the other order."""
    completions = [a_completion([4, 5]), a_completion([1, 2, 3])]
    facts = facts_of(1, [a_scored_group(0, completions, [Outcome.CORRECT, Outcome.WRONG])])
    micro = cut(build_batch(facts, a_recipe()), (1, 0))
    trace = Trace.of(MASK[[1, 0]], has_reference=bool(kl))

    trace.remember(micro, some_facts(k3=bool(kl)), SELECTED)

    assert trace.clipped_BT.tolist() == [[True, False, False], [True, True, False]]
    assert (None if trace.k3_BT is None else trace.k3_BT[1].tolist()) == ([0.5, 0.25, 1.0] if kl else None)


def test_losses_and_counts_of_all_ranks_add_up_on_each_of_them() -> None:
    def work(ranks: Ranks) -> Sums:
        losses_2 = torch.tensor([1.0, 0.5]).double() * (ranks.rank + 1)
        own = Sums(losses_2=losses_2, classes_26=tally(some_facts(), MASK, SELECTED, HIGH))
        return Sums.all([own, own], ranks)

    for known in on_ranks(3, work):
        assert (known.loss, known.policy) == (12.0, 6.0)
        assert known.counts(has_reference=True)[0].num_tokens == 3 * 2 * 3


def test_a_trace_of_ranks_is_that_of_whoever_had_the_row_last() -> None:
    def work(ranks: Ranks) -> Trace:
        trace = Trace(clipped_BT=MASK.clone(), k3_BT=torch.ones(2, 3))
        trace.forget([0, 1])
        trace.clipped_BT[ranks.rank] = HIGH[ranks.rank]
        trace.k3_BT[ranks.rank] = float(ranks.rank + 1)
        return trace.pooled(ranks)

    for known in on_ranks(2, work):
        assert torch.equal(known.clipped_BT, HIGH)
        assert known.k3_BT is not None and known.k3_BT[:, 0].tolist() == [1.0, 2.0]
