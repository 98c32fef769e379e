"""One job while everything around it is killed in turn: it ends at its final step, nothing lost or repeated."""

from pathlib import Path

import pytest

from e2e.cluster.faults import CLUSTER_FAULTS, POD_FAULTS, revival, strike
from e2e.cluster.jobs import ENDLESS, Team


@pytest.mark.timeout(2400)
def test_a_job_survives_the_loss_of_everything_around_it(team: Team, tmp_path: Path) -> None:
    team.apply(team.manifest("sums", steps=ENDLESS))
    team.wait_for_step("sums", 3)
    with revival():
        for name, fault in {**POD_FAULTS, **CLUSTER_FAULTS}.items():
            print(f"step {team.step('sums')}: {name}, {strike(team, 'sums', fault):.0f} s", flush=True)
        last = team.end_soon("sums", tmp_path)
        team.wait_for_complete("sums")
    print(
        f"{team.prove_exactly_once('sums', tmp_path, steps=last)}, {team.status('sums')['restarts']} restarts",
        flush=True,
    )
    assert team.status("sums")["progress"]["step"] == last
