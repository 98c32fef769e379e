"""One job while everything around it is killed in turn: it ends at its final step, nothing lost or repeated."""

import os
from pathlib import Path

import pytest

from e2e.cluster.faults import CLUSTER_FAULTS, POD_FAULTS
from e2e.cluster.jobs import Team

STEPS = int(os.environ.get("STEPS", "400"))
"""More than are trained before the last kill: on a slow machine fewer are enough."""


@pytest.mark.timeout(2400)
def test_a_job_survives_the_loss_of_everything_around_it(team: Team, tmp_path: Path) -> None:
    team.apply(team.manifest("sums", steps=STEPS))
    team.wait_for_step("sums", 3)
    for name, strike in {**POD_FAULTS, **CLUSTER_FAULTS}.items():
        step = team.step("sums")
        print(f"step {step}: {name}", flush=True)
        strike(team, "sums")
        team.wait_for_step("sums", step + 1)
        assert team.step("sums") < STEPS, "the job ended before everything was killed: give it more steps"

    team.wait_for_complete("sums", seconds=1500)
    account = team.prove_exactly_once("sums", tmp_path, steps=STEPS)
    print(f"{account}, {team.status('sums')['restarts']} restarts", flush=True)
    assert team.status("sums")["progress"]["step"] == STEPS
