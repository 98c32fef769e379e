"""Every query of every panel, as the chart has it, is put to a Prometheus that watched real jobs and finds numbers."""

import math
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.monitored import JOBS, STEPS, Recording, dashboards, panels_of, recording

PANELS = [(name, panel) for name, dashboard in dashboards().items() for panel in panels_of(dashboard)]

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    with recording(tmp_path_factory.mktemp("monitored")) as made:
        yield made


@pytest.mark.parametrize("panel", [panel for _, panel in PANELS], ids=[f"{name}: {it['title']}" for name, it in PANELS])
def test_every_query_of_a_panel_draws_something(past: Recording, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        lines = past.lines(target["expr"])
        numbers = [value for line in lines for _, value in line.points if math.isfinite(value)]
        assert numbers, target["expr"]


def test_both_jobs_and_their_numbers_are_told_apart(past: Recording) -> None:
    """The last step may end between two scrapes."""
    steps = {line.labels["rlvr_job"]: line.points for line in past.lines("max by (rlvr_job) (rlvr_learner_step)")}
    rewards = past.lines("max by (rlvr_job) (rlvr_learner_reward_mean)")

    assert steps.keys() == JOBS.keys()
    assert all(points[-1][1] >= STEPS - 1 for points in steps.values())
    assert len({tuple(value for _, value in line.points) for line in rewards}) == len(JOBS)
