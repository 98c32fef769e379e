"""A few kills of every kind; `make chaos KILLS=20` is the long version."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.timeout(900)
def test_kills_at_random_moments_lose_and_repeat_nothing() -> None:
    done = subprocess.run(
        [sys.executable, TESTS / "e2e" / "chaos.py", "--kills", "7"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["kills"], summary["lost"], summary["repeated"], summary["sameWeights"]) == (7, 0, 0, True)
