"""No golden case is forgotten in silence."""

from __future__ import annotations

from pathlib import Path

from golden.cases import CASES

ELSEWHERE = {
    "ssp_probe_and_merge",  # merging fine-tuned checkpoints is not reinforcement learning
    "decontam_10gram",  # preparing data sets
}


def test_every_case_of_the_trained_systems_is_asked_here() -> None:
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    ours = {name for name, case in CASES.items() if case.system != "r2r"} - ELSEWHERE

    assert sorted(name for name in ours if f'"{name}"' not in text) == []
