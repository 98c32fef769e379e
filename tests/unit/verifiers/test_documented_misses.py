"""The table of what the `math` verifier misses is true, row by row."""

import re
from pathlib import Path

import pytest

from rlvr_api.reward import MathVerifier
from rlvr_trainer.samples import Task
from rlvr_trainer.verifiers import mathematics

PAGE = Path(__file__).parents[3] / "docs" / "concepts" / "rewards.md"
ROWS = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (correct|wrong) \|$", PAGE.read_text(), re.MULTILINE)


def test_the_table_is_there() -> None:
    assert len(ROWS) >= 15


@pytest.mark.parametrize(("reference", "answer", "judged"), ROWS)
def test_a_row_says_what_happens(reference: str, answer: str, judged: str) -> None:
    verify = mathematics.make(MathVerifier())

    assert verify(Task(answer=reference), f"\\boxed{{{answer}}}").outcome == judged
