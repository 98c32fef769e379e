from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from golden.cases import CASES
from rlvr_trainer.algorithms.targets import (
    DIFFICULTIES,
    Difficulty,
    MonitorRecord,
    buckets,
    coverage,
    difficulty,
    length_grid,
    lengths_of,
    required_correct,
    target_length,
    target_lengths,
)


def a_record(num_correct: int, *lengths: int) -> MonitorRecord:
    return MonitorRecord(num_correct=num_correct, lengths=lengths)


def test_the_search_needs_no_torch() -> None:
    code = "import sys, rlvr_trainer.algorithms.targets; assert 'torch' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 6, 8, 9, 16])
def test_a_group_is_easy_from_two_thirds_and_medium_from_one(size: int) -> None:
    for num_correct in range(size + 1):
        share = num_correct / size
        at_least = "easy" if share >= 2 / 3 else "medium" if share >= 1 / 3 else "hard"
        above = "easy" if share > 2 / 3 else "medium" if share > 1 / 3 else "hard"
        assert difficulty(num_correct, size) == at_least
        assert difficulty(num_correct, size, boundary_is_easier=False) == above


def test_every_prompt_with_answers_is_in_the_bucket_of_its_accuracy() -> None:
    easy, medium, hard = a_record(2, 5, 6, 7), a_record(1, 5, 6, 7), a_record(0, 9)
    records = [easy, a_record(0), medium, hard]

    assert buckets(records) == {"hard": (hard,), "medium": (medium,), "easy": (easy,)}
    assert buckets(records, boundary_is_easier=False) == {"hard": (medium, hard), "medium": (easy,), "easy": ()}
    assert tuple(buckets([])) == DIFFICULTIES == get_args(Difficulty)
    assert lengths_of([easy, hard]) == (5, 6, 7, 9)


def test_the_fewest_correct_answers_of_a_bucket_are_rounded_as_asked() -> None:
    def required(size: int, rounding: str) -> list[int]:
        return [required_correct(name, group_size=size, rounding=rounding) for name in DIFFICULTIES]  # type: ignore[arg-type]

    assert [required(size, "ceil") for size in (2, 3, 4, 8, 16)] == [
        [1, 1, 2],
        [1, 1, 2],
        [1, 2, 3],
        [1, 3, 6],
        [1, 6, 11],
    ]
    assert [required(size, "floor") for size in (2, 3, 4, 8, 16)] == [
        [1, 0, 1],
        [1, 1, 2],
        [1, 1, 2],
        [1, 2, 5],
        [1, 5, 10],
    ]


def test_coverage_is_the_share_of_answers_within_each_length() -> None:
    assert coverage((5, 10, 11, 90), (4, 5, 10, 89, 90)) == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert coverage((5,), (4, 5)) == (0.0, 1.0)
    assert coverage((), (4, 5)) == (0.0, 0.0)


def test_exactly_one_expected_correct_answer_is_enough() -> None:
    lengths = (5, 90, 90, 90, 90, 90)

    assert target_length(lengths, (10, 100), required=6, longest=200) == 10
    assert target_length(lengths, (10, 100), required=5, longest=200) == 100


def test_the_longest_answer_caps_the_target() -> None:
    assert target_length((5, 6), (10, 20), required=1, longest=10) == 10
    assert target_length((5, 6), (10, 20), required=1, longest=11) == 10
    assert target_length((5,), (10, 20), required=1, longest=100) == 10
    assert target_length((5, 60), (10, 20), required=1, longest=100) == 100
    assert target_length((), (10, 20), required=6, longest=100) == 100
    assert target_length((5, 6), (10, 20), required=0, longest=100) == 100


def test_a_target_never_grows_when_more_correct_answers_are_expected() -> None:
    lengths, grid = range(100, 5000, 37), length_grid(512, 4096, step=512)

    targets = [target_length(lengths, grid, required=required, longest=5000) for required in range(1, 9)]

    assert targets == sorted(targets, reverse=True)
    assert len(set(targets)) > 3


def test_a_grid_starts_at_its_lowest_length_and_never_passes_the_highest() -> None:
    assert length_grid(4096, 8192, step=2048) == (4096, 6144, 8192)
    assert length_grid(1024, 3000, step=1024) == (1024, 2048)
    assert length_grid(1023, 3000, step=1024) == (1023, 1024, 2048)
    assert length_grid(4, 11, step=4) == (4, 8)
    assert length_grid(3, 11, step=4) == (3, 4, 8)


@pytest.mark.parametrize(("rounding", "column"), [("ceil", "target_paper_ceil"), ("floor", "target_code_floor")])
def test_monitor_answers_set_the_targets_of_the_golden_case(rounding: str, column: str) -> None:
    case = CASES["laser_d_ecr_target"]
    correct = {"easy": 8, "medium": 4, "hard": 0}
    records = [
        a_record(correct[name], *lengths[at : at + 8])
        for name, lengths in case.inputs["lengths"].items()
        for at in range(0, len(lengths), 8)
    ]

    targets = target_lengths(
        records,
        grid=case.inputs["thresholds"],
        longest=case.inputs["max_observed"],
        group_size=case.inputs["K"],
        rounding=rounding,  # type: ignore[arg-type]
    )

    assert targets == case.expected[column]
