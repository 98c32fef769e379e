"""A few kills of the operator; `make chaos-operator KILLS=50` is the long version."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubernetes_server import EVERYTHING, MISSING, find_assets

TESTS = Path(__file__).parents[1]


@pytest.mark.timeout(900)
@pytest.mark.skipif(find_assets(*EVERYTHING, "kubectl") is None, reason=MISSING)
def test_an_operator_that_is_killed_again_and_again_duplicates_orphans_and_loses_nothing() -> None:
    done = subprocess.run(
        [sys.executable, TESTS / "e2e" / "chaos_operator.py", "--kills", "4", "--jobs", "10"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (summary["kills"], summary["wrong"]) == (4, 0)
    assert summary["created"] >= 10
