from __future__ import annotations

from itertools import combinations

import pytest
import torch

from golden.cases import CASES
from rlvr_trainer.algorithms.passk import pass_at_k


def test_pass_at_k_agrees_with_the_table() -> None:
    case = CASES["pass_at_k"]

    values = [pass_at_k(num_completions=n, num_correct=c, k=k) for n, c, k in case.inputs["ncK"]]

    case.assert_close(torch.tensor(values, dtype=torch.float64), "value")


def test_pass_at_k_is_the_share_of_subsets_with_a_correct_one() -> None:
    subsets = list(combinations([True, True, False, False, False, False], 3))

    assert pass_at_k(num_completions=6, num_correct=2, k=3) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_all_of_all_completions_may_be_correct() -> None:
    assert pass_at_k(num_completions=4, num_correct=4, k=4) == 1
    assert pass_at_k(num_completions=4, num_correct=0, k=4) == 0


def test_pass_at_1_is_the_accuracy() -> None:
    assert pass_at_k(num_completions=16, num_correct=5, k=1) == pytest.approx(5 / 16)


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_impossible_counts_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(AssertionError):
        pass_at_k(num_completions=n, num_correct=c, k=k)
