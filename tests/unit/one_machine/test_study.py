"""The table of `make study`; its runs are made by the command."""

from pathlib import Path
from typing import Any

import pytest

from bench.study import BEGIN, END, Run, steps_to, table, write_docs


def a_run(preset: str = "dapo", *, seed: int = 0, **fields: Any) -> Run:
    known: dict[str, Any] = {
        "before": 0.52,
        "accuracy": 0.9,
        "tokens": 30.0,
        "entropy": 0.01,
        "steps_to_goal": 12,
        "sampled": 1_500_000,
        "curve": ((1, 0.5), (2, 0.9)),
    }
    return Run(preset=preset, seed=seed, **{**known, **fields})


@pytest.mark.parametrize(
    ("accuracies", "step"),
    [
        ([0.9, 0.9, 0.9], 3),
        ([0.1, 1.0, 0.1, 0.8, 0.8, 0.8], 6),
        ([0.0, 0.75, 0.8, 0.9], 4),
        ([0.9, 0.9], None),
        ([0.1, 1.0, 0.1, 1.0], None),
    ],
)
def test_the_goal_is_reached_by_three_steps_in_a_row(accuracies: list[float], step: int | None) -> None:
    assert steps_to(accuracies, goal=0.8) == step


def test_a_row_tells_mean_and_range_of_its_seeds() -> None:
    runs = [a_run(accuracy=0.9, steps_to_goal=10), a_run(seed=1, accuracy=0.8, steps_to_goal=None)]

    (*_, row) = table(runs, steps=40)

    assert row.endswith("| 0.850 (0.800 to 0.900) | 30.0 (30.0 to 30.0) | 0.010 (0.010 to 0.010) | 10; 1 not | 1.50 |")


def test_the_table_replaces_the_old_one_and_leaves_the_text_around_it(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    page = tmp_path / "study.md"
    page.write_text(f"# A study\n\n{BEGIN}\nold\n{END}\n\nReading: ...\n")

    write_docs(["| new |"], [a_run()], tmp_path)
    write_docs(["| newer |"], [a_run()], tmp_path)

    text = page.read_text()
    assert text.startswith(f"# A study\n\n{BEGIN}\n| newer |\n")
    assert text.endswith(f"{END}\n\nReading: ...\n")
    assert "(figures/study.png)" in text
    assert (tmp_path / "figures" / "study.png").exists()
