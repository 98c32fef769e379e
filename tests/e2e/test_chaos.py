"""A few kills of every kind; `make chaos`, `make chaos-rollouts` and `make chaos-operator` are the long versions."""

import pytest

from e2e.running import summary_of
from kubernetes_server import EVERYTHING, MISSING, find_assets


@pytest.mark.timeout(900)
def test_kills_at_random_moments_lose_and_repeat_nothing() -> None:
    summary = summary_of("chaos.py", "--kills", "7")

    assert (summary["kills"], summary["lost"], summary["repeated"], summary["sameWeights"]) == (7, 0, 0, True)


@pytest.mark.timeout(1200)
def test_rollouts_that_die_and_freeze_lose_no_group_and_mislabel_no_token() -> None:
    summary = summary_of("chaos_rollouts.py", "--kills", "4")

    assert (summary["strikes"], summary["lost"], summary["repeated"], summary["wrongLabels"]) == (4, 0, 0, 0)
    assert summary["byKind"] == {"rollout killed": 1, "rollout hung": 1, "engine killed": 1, "engine hung": 1}
    assert summary["tokensScoredAgain"] > 1000
    assert summary["medianDifferenceUnderThePolicyBefore"] > 2 * summary["largestDifferenceNats"]


@pytest.mark.timeout(900)
@pytest.mark.skipif(find_assets(*EVERYTHING, "kubectl") is None, reason=MISSING)
def test_an_operator_that_is_killed_again_and_again_duplicates_orphans_and_loses_nothing() -> None:
    summary = summary_of("chaos_operator.py", "--kills", "4", "--jobs", "10")

    assert (summary["kills"], summary["wrong"]) == (4, 0)
    assert summary["created"] >= 10
