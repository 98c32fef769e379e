"""A few broken manifests; `make fuzz-manifests FUZZ=2000` is the long version."""

import random

import pytest

from builders import a_job_dict
from e2e.running import summary_of
from kubernetes_server import MISSING, find_assets
from manifest_mutations import mutant


def test_the_same_seed_gives_the_same_manifest() -> None:
    one, same, other = (mutant(a_job_dict(), "fuzz-1", random.Random(seed)) for seed in ("0 1", "0 1", "0 2"))

    assert one == same
    assert one.manifest != other.manifest


@pytest.mark.timeout(400)
def test_broken_manifests_are_refused_by_field_or_reconciled_in_peace() -> None:
    if find_assets("etcd", "kube-apiserver", "kube-controller-manager", "kubectl") is None:
        pytest.skip(MISSING)
    found = summary_of("fuzz_manifests.py", "--count", "60")

    assert found["refused"] + found["accepted"] == found["manifests"] == 60
    assert (found["withoutStatus"], found["restless"], found["operatorDied"], found["failures"]) == (0, 0, 0, 0)
