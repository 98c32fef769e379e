"""A short part of the corpus against real reward services; `make hostile` has all of it."""

import json
import os
import subprocess
import sys


def test_no_hang_no_escape_no_verdict_lost() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hostile", "--sample", "60"],
        check=False,
        capture_output=True,
        text=True,
        timeout=280,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["escapes"], report["lost"], report["late"], report["healthy"]) == (0, 0, 0, True)
    assert report["items"] >= 50
    assert report["families"] == 11
    assert sum(report["outcomes"].values()) == report["items"]
