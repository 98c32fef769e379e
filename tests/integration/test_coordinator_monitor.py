"""A coordinator that follows lengths on monitor prompts: when, with which draws, and what of it survives a restart."""

import asyncio
import json
from pathlib import Path
from typing import Any

from builders import a_job
from fakes import FakeLearner, FakeReward, FakeRollout, a_token_file, by_first_digit, running
from rlvr_api import RLVRJob
from rlvr_trainer.coordinator.app import coordinate
from rlvr_trainer.coordinator.rollouts import Pace
from rlvr_trainer.samples import StepFacts
from rlvr_trainer.surroundings import Surroundings

FAST = Pace(look=0.05, look_again=0.01, silence=0.3, update=2.0, generate=5.0)
MONITOR = {"lowestTokens": 2, "gridStep": 1, "monitorPrompts": 6, "monitorCompletions": 3, "monitorEvery": 2}
STEPS = 5


def a_laser_job(*, staleness: int = 0, **monitor: Any) -> RLVRJob:
    return a_job(
        data={
            "train": {"procedural": {"task": "chain_sum", "size": 64, "seed": 1}},
            "eval": {"procedural": {"task": "chain_sum", "size": 4, "seed": 1000}},
        },
        algorithm={"preset": "laserD", "lengthReward": {"laserD": {**MONITOR, **monitor}}},
        training={"steps": STEPS, "promptsPerStep": 4, "groupSize": 4, "maxStaleness": staleness},
    )


async def run(
    job: RLVRJob, learner: FakeLearner, rollout: FakeRollout, reward: FakeReward, *, resumed: StepFacts | None = None
) -> None:
    """One attempt with one rollout and one judge, from the beginning or from the end of the step of `resumed`."""
    after, state = (resumed.step, resumed.state) if resumed is not None else (0, None)
    async with running(rollout.app(), reward.app()) as (rollout_url, reward_url), asyncio.timeout(90):
        place = Surroundings(
            job=learner.folder / "job.json",
            folder=learner.folder,
            token_file=a_token_file(learner.folder),
            attempt=learner.attempt,
            rollouts=(rollout_url,),
            rewards=(reward_url,),
        )
        training = asyncio.create_task(learner.train(steps=STEPS, after=after, state=state))
        await coordinate(place, job, pace=FAST)
        await training


def measured_steps(learner: FakeLearner) -> list[int | None]:
    monitorings = [facts.state.monitoring for facts in learner.facts]
    return [found.step if found is not None else None for found in monitorings]


async def test_lengths_are_measured_before_training_and_every_so_many_steps(tmp_path: Path) -> None:
    learner, rollout, reward = FakeLearner(tmp_path), FakeRollout(), FakeReward(by_first_digit)

    await run(a_laser_job(), learner, rollout, reward)

    assert measured_steps(learner) == [0, 0, 2, 2, 4]
    assert all(set(facts.state.length_targets) == {"hard", "medium", "easy"} for facts in learner.facts)
    assert all(2 <= target <= 64 for target in learner.facts[-1].state.length_targets.values())
    assert sum(learner.facts[0].state.monitoring.num_prompts.values()) == 6  # type: ignore[union-attr]
    groups = learner.facts[-1].state.ledger.watermark
    assert reward.num_items == 3 * 6 * 3 + 2 * 4 + groups * 4  # monitorings, evaluations, training


async def test_every_measurement_asks_for_the_same_draws_and_uses_up_no_prompt(tmp_path: Path) -> None:
    learner, rollout = FakeLearner(tmp_path), FakeRollout()

    await run(a_laser_job(), learner, rollout, FakeReward(by_first_digit))

    asked_often = {seed: rollout.seeds.count(seed) for seed in rollout.seeds}
    groups = learner.facts[-1].state.ledger.watermark
    assert sorted(asked_often.values()) == [1] * groups + [2] * 4 + [3] * 6
    positions = [scored.group.prompt.position for facts in learner.facts for scored in facts.groups]
    dropped = [one.position for facts in learner.facts for one in facts.dropped]
    assert sorted(positions + dropped) == list(range(groups))


async def test_a_resumed_run_goes_on_with_the_same_targets_and_schedule(tmp_path: Path) -> None:
    whole = FakeLearner(tmp_path / "whole")
    await run(a_laser_job(), whole, FakeRollout(), FakeReward(by_first_digit))

    for step in range(1, STEPS):
        second = FakeLearner(tmp_path / f"from-{step}", attempt=1)
        await run(a_laser_job(), second, FakeRollout(), FakeReward(by_first_digit), resumed=whole.facts[step - 1])

        assert [f.state.monitoring for f in second.facts] == [f.state.monitoring for f in whole.facts[step:]]
        assert [f.state.ledger for f in second.facts] == [f.state.ledger for f in whole.facts[step:]]


async def test_with_staleness_no_batch_goes_without_targets(tmp_path: Path) -> None:
    learner = FakeLearner(tmp_path, seconds=0.01)

    await run(a_laser_job(staleness=2), learner, FakeRollout(seconds=0.002), FakeReward(by_first_digit))

    steps = measured_steps(learner)
    assert None not in steps
    assert all(
        measured is not None and measured < facts.step for measured, facts in zip(steps, learner.facts, strict=True)
    )


async def test_a_rollout_that_pauses_and_a_judge_that_starts_late_change_no_target(tmp_path: Path) -> None:
    calm, troubled = FakeLearner(tmp_path / "calm"), FakeLearner(tmp_path / "troubled")
    await run(a_laser_job(), calm, FakeRollout(), FakeReward(by_first_digit))

    await run(a_laser_job(), troubled, FakeRollout(busy=5), FakeReward(by_first_digit, busy=2))

    assert troubled.facts[-1].state.length_targets == calm.facts[-1].state.length_targets
    assert json.loads((troubled.folder / "result.json").read_bytes())["steps"] == STEPS
