import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from learning import a_dealing
from rlvr_trainer.learner.batching import Batch
from rlvr_trainer.learner.microbatches import cut, deal, hand_out, pack_passes, plan_passes, split_groups
from thread_ranks import on_ranks


def a_batch() -> Batch:
    """Two rows: prompt 5 6, completion 7 8 9; prompt 1, completion 2."""
    empty = torch.zeros(2, 3)
    return Batch(
        tokens_BS=torch.tensor([[5, 6, 7, 8, 9], [1, 2, 0, 0, 0]]),
        prompt_lengths_B=torch.tensor([2, 1]),
        completion_lengths_B=torch.tensor([3, 1]),
        mask_BT=torch.tensor([[True, True, True], [True, False, False]]),
        sampling_BT=empty,
        reward_PG=empty[:1, :2],
        advantage_B1=empty[:, :1],
    )


def test_passes_take_the_longest_rows_first_and_as_many_as_the_padded_budget_holds() -> None:
    assert plan_passes([3, 9, 4, 4, 2], range(5), token_budget=12) == ((1,), (2, 3, 0), (4,))


def test_a_row_longer_than_the_budget_goes_alone() -> None:
    assert plan_passes([30, 31], [0, 1], token_budget=10) == ((1,), (0,))


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40), budget=st.integers(1, 200))
def test_passes_hold_every_row_once_and_stay_within_the_budget(lengths: list[int], budget: int) -> None:
    passes = plan_passes(lengths, range(len(lengths)), token_budget=budget)

    assert sorted(row for rows in passes for row in rows) == list(range(len(lengths)))
    assert all(len(rows) == 1 or len(rows) * max(lengths[r] for r in rows) <= budget for rows in passes)


def test_an_epoch_deals_every_group_to_one_update() -> None:
    parts = split_groups(10, parts=3, seed=0, step=1, epoch=0)

    assert [len(part) for part in parts] == [3, 3, 4]
    assert sorted(group for part in parts for group in part) == list(range(10))


def test_the_deal_follows_from_seed_step_and_epoch_alone() -> None:
    deals = [split_groups(8, parts=2, seed=s, step=k, epoch=e) for s in range(3) for k in range(3) for e in range(3)]

    assert len(set(deals)) > 20
    assert split_groups(8, parts=2, seed=1, step=2, epoch=0) == split_groups(8, parts=2, seed=1, step=2, epoch=0)
    assert split_groups(4, parts=2, seed=7, step=3, epoch=1) == ((0, 3), (1, 2))


def test_one_update_takes_all_groups_in_order() -> None:
    assert split_groups(3, parts=1, seed=5, step=5, epoch=5) == ((0, 1, 2),)


def test_a_pass_predicts_each_completion_token_from_the_place_before_it() -> None:
    micro = cut(a_batch(), (1, 0))

    assert micro.tokens_MS.tolist() == [[1, 2, 0, 0, 0], [5, 6, 7, 8, 9]]
    assert micro.predictors_N.tolist() == [0, 6, 7, 8]
    assert micro.targets_N.tolist() == [2, 7, 8, 9]
    assert micro.mask_MT.tolist() == [[True, False, False], [True, True, True]]


def test_a_pass_is_no_wider_than_its_longest_row() -> None:
    micro = cut(a_batch(), (1,))

    assert micro.tokens_MS.tolist() == [[1, 2]]
    assert micro.mask_MT.tolist() == [[True]]


def test_values_of_tokens_spread_to_their_rows_and_carry_gradient() -> None:
    values = torch.tensor([10.0, 20.0, 30.0, 40.0], requires_grad=True)
    spread = cut(a_batch(), (1, 0)).spread(values)
    (spread * torch.tensor([[1.0, 5.0, 5.0], [2.0, 3.0, 4.0]])).sum().backward()

    assert spread.tolist() == [[10.0, 0.0, 0.0], [20.0, 30.0, 40.0]]
    assert values.grad is not None and values.grad.tolist() == [1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_more_updates_than_groups_leaves_none_empty(parts: int) -> None:
    assert all(split_groups(2, parts=parts, seed=0, step=0, epoch=0))


def test_packed_rows_fill_the_first_pass_that_has_room() -> None:
    assert pack_passes([3, 9, 4, 4, 2], range(5), token_budget=12) == ((1, 0), (2, 3, 4))


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40), budget=st.integers(1, 200))
def test_packed_passes_hold_every_row_once_within_the_budget_and_are_no_more_than_padded_ones(
    lengths: list[int], budget: int
) -> None:
    passes = pack_passes(lengths, range(len(lengths)), token_budget=budget)

    assert sorted(row for rows in passes for row in rows) == list(range(len(lengths)))
    assert all(len(rows) == 1 or sum(lengths[row] for row in rows) <= budget for rows in passes)
    assert len(passes) <= len(plan_passes(lengths, range(len(lengths)), token_budget=budget))


@given(lengths=st.lists(st.integers(1, 50), max_size=40), num_ranks=st.integers(1, 6))
def test_every_row_is_handed_to_one_rank_and_loads_differ_by_no_more_than_a_row(
    lengths: list[int], num_ranks: int
) -> None:
    hands = hand_out(lengths, range(len(lengths)), num_ranks=num_ranks)
    loads = [sum(lengths[row] for row in rows) for rows in hands]

    assert sorted(row for rows in hands for row in rows) == list(range(len(lengths)))
    assert max(loads) - min(loads) <= max(lengths, default=0)


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("num_ranks", [1, 2, 5])
def test_all_ranks_make_equally_many_passes_over_all_rows(num_ranks: int, *, packs: bool) -> None:
    """Or a sharded model would wait for a rank that is done."""
    lengths, dealing = [40, 3, 3, 3, 3, 9, 9], a_dealing(token_budget=12, packs=packs)
    deals = on_ranks(num_ranks, lambda ranks: deal(lengths, tuple(range(7)), dealing=dealing, ranks=ranks))

    assert len({len(dealt.passes) for dealt in deals}) == 1
    assert sorted(row for dealt in deals for row in dealt.own) == list(range(7))
    assert all(dealt.rows == tuple(range(7)) for dealt in deals)


def test_an_idle_pass_has_one_token_and_asks_nothing() -> None:
    micro = cut(a_batch(), ())

    assert micro.tokens_MS.tolist() == [[5]] and micro.lengths_M.tolist() == [1]
    assert micro.predictors_N.numel() == micro.targets_N.numel() == micro.mask_MT.numel() == 0
