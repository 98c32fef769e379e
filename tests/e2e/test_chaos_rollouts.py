"""A few strikes against rollouts; `make chaos-rollouts KILLS=50` is the long version."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


@pytest.mark.timeout(1200)
def test_rollouts_that_die_and_freeze_lose_no_group_and_mislabel_no_token() -> None:
    done = subprocess.run(
        [sys.executable, TESTS / "e2e" / "chaos_rollouts.py", "--kills", "4"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["strikes"], summary["lost"], summary["repeated"], summary["wrongLabels"]) == (4, 0, 0, 0)
    assert summary["byKind"] == {"rollout killed": 1, "rollout hung": 1, "engine killed": 1, "engine hung": 1}
    assert summary["tokensScoredAgain"] > 1000
    assert summary["medianDifferenceUnderThePolicyBefore"] > 2 * summary["largestDifferenceNats"]
