"""A few broken manifests; `make fuzz-manifests FUZZ=2000` is the long version."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from builders import a_job_dict
from kubernetes_server import MISSING, find_assets
from manifest_mutations import mutant

TESTS = Path(__file__).parents[1]


def test_the_same_seed_gives_the_same_manifest() -> None:
    one, same, other = (mutant(a_job_dict(), "fuzz-1", random.Random(seed)) for seed in ("0 1", "0 1", "0 2"))

    assert one == same
    assert one.manifest != other.manifest


@pytest.mark.timeout(400)
def test_broken_manifests_are_refused_by_field_or_reconciled_in_peace() -> None:
    if find_assets("etcd", "kube-apiserver", "kube-controller-manager", "kubectl") is None:
        pytest.skip(MISSING)
    done = subprocess.run(
        [sys.executable, TESTS / "e2e" / "fuzz_manifests.py", "--count", "60"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["refused"] + found["accepted"] == found["manifests"] == 60
    assert (found["withoutStatus"], found["restless"], found["operatorDied"], found["failures"]) == (0, 0, 0, 0)
