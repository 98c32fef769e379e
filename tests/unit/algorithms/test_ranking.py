from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from opinions import on_ranks
from rlvr_trainer.algorithms.ranking import WHOLE, Share, first_in_order, order_statistics

TRICKY = [-math.inf, -3.5, -1e-40, -0.0, 0.0, 1e-40, 0.5, 0.5000001, 3.5, 1e30, math.inf]
patient = settings(deadline=None, max_examples=min(60, settings().max_examples))
numbers = st.one_of(
    st.sampled_from(TRICKY), st.integers(-3, 3).map(float), st.floats(allow_nan=False, width=32, allow_subnormal=True)
)
shapes = st.tuples(st.integers(1, 6), st.integers(1, 7))


def in_order(values_BT: Tensor, mask_BT: Tensor, count: int) -> Tensor:
    """The same by a stable sort of everything."""
    chosen_N = torch.zeros(int(mask_BT.sum()), dtype=torch.bool)
    chosen_N[values_BT[mask_BT].double().argsort(stable=True)[:count]] = True
    return torch.zeros_like(mask_BT).masked_scatter(mask_BT, chosen_N)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Tensor, Tensor]:
    """Values with many ties, and a mask."""
    rows, width = draw(shapes)
    values = draw(st.lists(numbers, min_size=rows * width, max_size=rows * width))
    mask = draw(st.lists(st.booleans(), min_size=rows * width, max_size=rows * width))
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    return torch.tensor(values, dtype=torch.float64).to(dtype).view(rows, width), torch.tensor(mask).view(rows, width)


@patient
@given(tables(), st.integers(-1, 50))
def test_the_first_in_order_are_those_of_a_stable_sort(table: tuple[Tensor, Tensor], count: int) -> None:
    values_BT, mask_BT = table

    assert torch.equal(first_in_order(values_BT, mask_BT, count=count), in_order(values_BT, mask_BT, max(count, 0)))


@patient
@given(tables())
def test_order_statistics_are_those_of_a_sort(table: tuple[Tensor, Tensor]) -> None:
    values_BT, _ = table
    ascending_N = values_BT.flatten().sort().values

    found_N = order_statistics(values_BT.flatten(), range(ascending_N.numel()))

    assert found_N.dtype == values_BT.dtype
    assert torch.equal(found_N, ascending_N)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_comes_back_as_it_was(dtype: torch.dtype) -> None:
    values_N = torch.tensor([0.5, -2.0, 7.0, 0.0]).to(dtype)

    found_N = order_statistics(values_N, [0, 3])

    assert found_N.dtype == dtype
    assert found_N.tolist() == [-2.0, 7.0]


@patient
@given(tables(), st.integers(0, 40), st.sampled_from([2, 3, 4]), st.randoms(use_true_random=False))
def test_ranks_find_together_what_one_rank_finds(
    table: tuple[Tensor, Tensor], count: int, ranks: int, dice: object
) -> None:
    values_BT, mask_BT = table
    rows = list(range(len(values_BT)))
    dice.shuffle(rows)  # type: ignore[attr-defined]
    places = [torch.tensor(rows[rank::ranks], dtype=torch.int64) for rank in range(ranks)]
    whole_BT = first_in_order(values_BT, mask_BT, count=count)

    def work(rank: int, share: Share) -> Tensor:
        return first_in_order(values_BT[places[rank]], mask_BT[places[rank]], count=count, of=share)

    found_BT = torch.zeros_like(mask_BT)
    for rows_B, part_BT in zip(places, on_ranks(places, work), strict=True):
        found_BT[rows_B] = part_BT
    assert torch.equal(found_BT, whole_BT)


def test_a_rank_without_numbers_takes_part() -> None:
    values_BT, places = torch.tensor([[3.0, 1.0, 2.0]]), [torch.tensor([0]), torch.tensor([], dtype=torch.int64)]
    mask_BT = torch.ones(1, 3, dtype=torch.bool)

    def work(rank: int, share: Share) -> tuple[list[list[bool]], list[float]]:
        values_bT, mask_bT = values_BT[places[rank]], mask_BT[places[rank]]
        return (
            first_in_order(values_bT, mask_bT, count=2, of=share).tolist(),
            order_statistics(values_bT[mask_bT], [0, 2], of=share).tolist(),
        )

    assert on_ranks(places, work) == [([[False, True, True]], [1.0, 3.0]), ([], [1.0, 3.0])]


def test_a_rank_alone_holds_every_row_in_order() -> None:
    assert WHOLE.rows_B is None
    assert WHOLE.total(torch.tensor(7)) == 7


def test_among_equals_an_earlier_row_wins_over_an_earlier_token() -> None:
    values_BT, mask_BT = torch.zeros(2, 3), torch.tensor([[False, False, True], [True, True, True]])

    assert first_in_order(values_BT, mask_BT, count=2).tolist() == [[False, False, True], [True, False, False]]
    assert first_in_order(values_BT, mask_BT, count=2, of=Share(rows_B=torch.tensor([5, 4]))).tolist() == [
        [False, False, False],
        [True, True, False],
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_minus_zero_is_zero(dtype: torch.dtype) -> None:
    values_BT = torch.tensor([[0.0, -0.0]], dtype=dtype)

    assert first_in_order(values_BT, torch.ones(1, 2, dtype=torch.bool), count=1).tolist() == [[True, False]]
