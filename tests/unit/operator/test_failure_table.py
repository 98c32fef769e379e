"""docs/concepts/failure-modes.md: every row of the operator names a test, and every test that it names is there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("", "tests/unit/operator/decisions/", "tests/integration/")


def rows() -> Iterator[tuple[str, str]]:
    """Event and proof of each row of the tables that have a column for proofs."""
    has_proofs = False
    for line in (ROOT / "docs/concepts/failure-modes.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if not cells or set(cells[0]) == {"-"}:
            continue
        if cells[0] in {"Event", "What fails"}:
            has_proofs = cells[-1] == "Proof"
        elif has_proofs:
            yield cells[0], cells[-1]


ROWS = dict(rows())


def test_there_is_a_table() -> None:
    assert len(ROWS) > 35


@pytest.mark.parametrize("event", ROWS)
def test_a_failure_has_a_test(event: str) -> None:
    named = re.findall(r"`([^`]+\.py)`", ROWS[event])
    commands = re.findall(r"`make ([a-z-]+)`", ROWS[event])

    assert named or commands, f"no proof: {event}"
    for file in named:
        assert any((ROOT / folder / file).is_file() for folder in FOLDERS), file
    for command in commands:
        assert f"\n{command}:" in (ROOT / "Makefile").read_text(), command
