"""Every golden number, in both precisions, and the command that evaluates other numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from golden.cases import CASES, VECTORS, Case, load
from golden.evaluate import EVALUATIONS, LATER, verdict

ROOT = Path(__file__).parents[3]
NOW = [name for name in CASES if not name.startswith(LATER)]


@pytest.mark.parametrize("case", load(), ids=lambda case: case.id)
def test_the_public_functions_compute_every_golden_number(case: Case) -> None:
    assert verdict(case) == f"{'later' if case.id.startswith(LATER) else 'ok'} {case.id}"


@pytest.mark.parametrize("case", load(dtype=torch.float32), ids=lambda case: case.id)
def test_the_same_numbers_come_out_in_single_precision(case: Case) -> None:
    assert not verdict(case).startswith(("mismatch", "unknown"))


def test_every_case_of_a_trained_system_has_an_evaluation() -> None:
    assert sorted(EVALUATIONS) == sorted(NOW)


@pytest.mark.parametrize("name", NOW)
def test_any_other_number_is_a_mismatch(name: str) -> None:
    case = CASES[name]

    for key in case.expected:
        for sign in (-1, 1):
            changed = replace(case, expected={**case.expected, key: moved(case.expected[key], sign)})
            if key != "note":
                assert verdict(changed).startswith(f"mismatch {name}"), (key, sign)


def test_a_result_that_nobody_computes_is_a_mismatch() -> None:
    case = CASES["entropy_two_way"]

    line = verdict(replace(case, expected={**case.expected, "perplexity": 2.0}))

    assert line == "mismatch entropy_two_way perplexity: no such result"


def test_a_case_that_cannot_be_computed_is_a_mismatch_with_its_reason() -> None:
    assert verdict(replace(CASES["kl_estimators"], inputs={})).startswith("mismatch kl_estimators KeyError")


@pytest.mark.parametrize(
    ("change", "status", "line"),
    [
        ({}, 0, "ok entropy_two_way"),
        ({"id": "no_such_case"}, 1, "unknown no_such_case: no function here is asked for it"),
        ({"id": "r2r_something"}, 0, "later r2r_something"),
        ({"expected": {"entropy": [0.7, 0.325082973391]}}, 1, "mismatch entropy_two_way entropy: got [0.693147"),
    ],
)
def test_the_command_prints_a_line_per_case_and_fails_on_a_surprise(
    change: dict[str, Any], status: int, line: str, tmp_path: Path
) -> None:
    entry = json.loads(VECTORS.read_text())["cases"][0]
    file = tmp_path / "other.json"
    file.write_text(json.dumps({"cases": [entry, entry | change]}))

    done = subprocess.run(
        [sys.executable, "-m", "tests.golden", str(file)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    first, second = done.stdout.splitlines()
    assert (first, done.returncode) == ("ok entropy_two_way", status)
    assert second.startswith(line)


def moved(value: Any, sign: int) -> Any:
    """The first number inside `value`, moved; a word, changed."""
    if isinstance(value, dict):
        first = next(iter(value))
        return {**value, first: moved(value[first], sign)}
    if isinstance(value, list):
        return [moved(value[0], sign), *value[1:]]
    return f"not {value}" if isinstance(value, str) else (value or 0) + sign * 0.01
