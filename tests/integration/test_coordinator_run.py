"""A whole coordinator among fakes that fail: every prompt once, in order, whatever happens around it."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from builders import a_job, an_evaluation
from fakes import FakeLearner, FakeReward, FakeRollout, Mortal, a_token_file, by_first_digit, running
from rlvr_api import RLVRJob
from rlvr_trainer.coordinator.app import coordinate
from rlvr_trainer.coordinator.rollouts import Pace
from rlvr_trainer.errors import InvalidInput, TrainerError
from rlvr_trainer.samples import CoordinatorState, Fate, Ledger, StepFacts
from rlvr_trainer.surroundings import Surroundings

FAST = Pace(look=0.05, look_again=0.01, silence=0.3, update=2.0, generate=5.0)
TRAIN = {"procedural": {"task": "chain_sum", "size": 64, "seed": 1}}
EVAL = {"procedural": {"task": "chain_sum", "size": 10, "seed": 1000}}


def a_small_job(*, steps: int = 3, staleness: int = 0, **eval_settings: Any) -> RLVRJob:
    training = {"steps": steps, "promptsPerStep": 4, "groupSize": 4, "maxStaleness": staleness}
    return a_job(data={"train": TRAIN, "eval": {**EVAL, **eval_settings}}, training=training)


def surroundings(folder: Path, rollouts: list[str], rewards: list[str], *, attempt: int = 0) -> Surroundings:
    return Surroundings(
        job=folder / "job.json",
        folder=folder,
        token_file=a_token_file(folder),
        attempt=attempt,
        rollouts=tuple(rollouts),
        rewards=tuple(rewards),
    )


async def run(job: RLVRJob, learner: FakeLearner, rollout: FakeRollout, reward: FakeReward) -> dict[str, Any]:
    """One attempt from the beginning to result.json, with one rollout and one judge."""
    async with running(rollout.app(), reward.app()) as (rollout_url, reward_url), asyncio.timeout(90):
        training = asyncio.create_task(learner.train(steps=job.spec.training.steps))
        await coordinate(surroundings(learner.folder, [rollout_url], [reward_url]), job, pace=FAST)
        await training
    return result_in(learner.folder)


def result_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "result.json").read_bytes())
    return found


def trained_positions(facts: StepFacts) -> list[int]:
    return [scored.group.prompt.position for scored in facts.groups]


def assert_every_prompt_once(learner: FakeLearner) -> None:
    """What was trained and dropped is a run without gaps, and the ledger counts it."""
    trained = [position for facts in learner.facts for position in trained_positions(facts)]
    dropped = [(one.position, one.fate) for facts in learner.facts for one in facts.dropped]
    consumed = sorted([*trained, *(position for position, _ in dropped)])
    counts = Counter({Fate.TRAINED: len(trained)}) + Counter(fate for _, fate in dropped)
    assert trained == sorted(trained)
    assert consumed == list(range(len(consumed)))
    assert learner.facts[-1].state.ledger == Ledger(watermark=len(consumed), counts=counts)


def num_dropped(facts: StepFacts, fate: Fate) -> int:
    return sum(one.fate is fate for one in facts.dropped)


async def test_prompts_become_batches_and_a_result(tmp_path: Path) -> None:
    learner, rollout = FakeLearner(tmp_path), FakeRollout()

    result = await run(a_small_job(), learner, rollout, FakeReward(by_first_digit))

    assert_every_prompt_once(learner)
    assert [len(facts.groups) for facts in learner.facts] == [4, 4, 4]
    assert [facts.policy_step for facts in learner.facts] == [0, 1, 2]
    assert [int(label.split("-")[0]) for label in rollout.labels] == [0, 1, 2, 3]
    assert rollout.manifests[0]["files"]["weights"]["bytes"] == len("weights of step 0")
    assert (result["steps"], result["trained"], result["policy"]) == (3, 12, rollout.labels[-1])
    assert result["dropped"].get("flat", 0) == sum(num_dropped(facts, Fate.FLAT) for facts in learner.facts)
    assert result["evalAccuracyBefore"] == result["evalAccuracyAfter"] == 0.8
    assert [evaluation["step"] for evaluation in result["evaluations"]] == [0, 3]
    assert len(result["evaluations"][0]["transcripts"]) == 10


async def test_the_same_job_gives_the_same_batches(tmp_path: Path) -> None:
    one, other = FakeLearner(tmp_path / "1"), FakeLearner(tmp_path / "2", seconds=0.02)

    await run(a_small_job(), one, FakeRollout(), FakeReward(by_first_digit))
    await run(a_small_job(), other, FakeRollout(seconds=0.01), FakeReward(by_first_digit, busy=2))

    assert [trained_positions(facts) for facts in one.facts] == [trained_positions(facts) for facts in other.facts]
    assert [facts.state.ledger for facts in one.facts] == [facts.state.ledger for facts in other.facts]
    assert [tokens_of(facts) for facts in one.facts] == [tokens_of(facts) for facts in other.facts]


def tokens_of(facts: StepFacts) -> list[list[int]]:
    return [completion.token_ids.tolist() for scored in facts.groups for completion in scored.group.completions]


async def test_a_resumed_attempt_continues_with_the_next_prompts(tmp_path: Path) -> None:
    whole, second = FakeLearner(tmp_path / "whole"), FakeLearner(tmp_path / "second", attempt=1)
    await run(a_small_job(), whole, FakeRollout(), FakeReward(by_first_digit))

    async with running(FakeRollout().app(), FakeReward(by_first_digit).app()) as (rollout, reward):
        training = asyncio.create_task(second.train(steps=3, after=1, state=whole.facts[0].state))
        await coordinate(surroundings(second.folder, [rollout], [reward], attempt=1), a_small_job(), pace=FAST)
        await training

    assert [tokens_of(facts) for facts in second.facts] == [tokens_of(facts) for facts in whole.facts[1:]]
    assert second.facts[-1].state.ledger == whole.facts[-1].state.ledger
    assert [e["step"] for e in result_in(second.folder)["evaluations"]] == [0, 3]


async def test_only_the_last_evaluation_remains_when_training_is_done(tmp_path: Path) -> None:
    ledger = Ledger(watermark=12, counts={Fate.TRAINED: 12})
    state = CoordinatorState(ledger=ledger, evaluations=(an_evaluation(0, accuracy=0.25),), wall_seconds=7.0)
    learner = FakeLearner(tmp_path, attempt=2)

    async with running(FakeRollout().app(), FakeReward(by_first_digit).app()) as (rollout, reward):
        await learner.train(steps=3, after=3, state=state)
        await coordinate(surroundings(tmp_path, [rollout], [reward], attempt=2), a_small_job(), pace=FAST)

    result = result_in(tmp_path)
    assert (result["evalAccuracyBefore"], result["evalAccuracyAfter"]) == (0.25, 0.8)
    assert (result["trained"], result["wallSeconds"]) == (12, 7.0)


async def test_evaluations_happen_every_so_many_steps(tmp_path: Path) -> None:
    result = await run(a_small_job(steps=5, every=2), FakeLearner(tmp_path), FakeRollout(), FakeReward(by_first_digit))

    assert [(e["step"], len(e["transcripts"])) for e in result["evaluations"]] == [(0, 10), (2, 0), (4, 0), (5, 10)]


async def test_a_storm_of_flat_groups_is_dropped_and_recorded(tmp_path: Path) -> None:
    seen = 0

    def flat_at_first(item: dict[str, Any]) -> dict[str, Any]:
        nonlocal seen
        seen += 1
        return {"outcome": "wrong", "score": 0.0} if seen <= 40 + 4 * 30 else by_first_digit(item)

    learner = FakeLearner(tmp_path)
    result = await run(a_small_job(), learner, FakeRollout(), FakeReward(flat_at_first))

    assert_every_prompt_once(learner)
    assert num_dropped(learner.facts[0], Fate.FLAT) >= 30
    assert result["dropped"]["flat"] >= 30


async def test_groups_that_cannot_be_judged_are_dropped_as_errors_never_as_zeros(tmp_path: Path) -> None:
    def fails_on_nines(item: dict[str, Any]) -> dict[str, Any]:
        failed = {"outcome": "error", "score": None, "reason": "killed after 10 s"}
        return failed if "9" in item["text"] else by_first_digit(item)

    learner = FakeLearner(tmp_path)
    result = await run(a_small_job(), learner, FakeRollout(), FakeReward(fails_on_nines))

    assert_every_prompt_once(learner)
    assert result["dropped"]["error"] > 0
    assert all(v.score is not None for facts in learner.facts for s in facts.groups for v in s.verdicts)
    assert result["evaluations"][0]["numErrors"] > 0


async def test_a_paused_rollout_and_a_starting_judge_are_waited_for(tmp_path: Path) -> None:
    learner = FakeLearner(tmp_path)

    await run(a_small_job(), learner, FakeRollout(busy=7), FakeReward(by_first_digit, busy=3))

    assert_every_prompt_once(learner)


async def test_a_group_of_an_unknown_policy_is_asked_for_again_under_the_same_seed(tmp_path: Path) -> None:
    learner, rollout = FakeLearner(tmp_path), FakeRollout(foreign_label="default")

    await run(a_small_job(), learner, rollout, FakeReward(by_first_digit))

    assert_every_prompt_once(learner)
    assert len(rollout.seeds) == len(set(rollout.seeds)) + 1 + 10  # the stranger's group, and the second evaluation


async def test_a_rollout_that_dies_with_groups_in_flight_comes_back_at_another_policy(tmp_path: Path) -> None:
    reference, learner = FakeLearner(tmp_path / "reference"), FakeLearner(tmp_path / "victim")
    await run(a_small_job(), reference, FakeRollout(), FakeReward(by_first_digit))
    rollout = FakeRollout(seconds=0.03)
    mortal = Mortal(rollout.app)

    async with running(FakeReward(by_first_digit).app()) as (reward,), asyncio.timeout(90):
        url = await mortal.start()
        training = asyncio.create_task(learner.train(steps=3))
        coordinating = asyncio.create_task(
            coordinate(surroundings(learner.folder, [url], [reward]), a_small_job(), pace=FAST)
        )
        for lives in range(3):
            while len(rollout.seeds) < 8 + 7 * lives:  # noqa: ASYNC110 - the fake counts
                await asyncio.sleep(0.002)
            rollout.cut_off()
            await mortal.kill()
            rollout.label = ["0-000000000000", None, "default"][lives]
            await asyncio.sleep(0.05)
            await mortal.start()
        await coordinating
        await training
        await mortal.kill()

    assert len(rollout.seeds) > len(set(rollout.seeds)) + 10  # some were asked for again; 10 are the second evaluation
    assert [tokens_of(facts) for facts in learner.facts] == [tokens_of(facts) for facts in reference.facts]
    assert_every_prompt_once(learner)


async def test_work_goes_to_the_rollouts_that_answer(tmp_path: Path) -> None:
    learner, rollouts = FakeLearner(tmp_path), [FakeRollout(seconds=0.01), FakeRollout(seconds=0.01)]

    async with running(*(one.app() for one in rollouts), FakeReward(by_first_digit).app()) as (a, b, reward):
        training = asyncio.create_task(learner.train(steps=3))
        nobody = "http://127.0.0.1:9"
        await coordinate(surroundings(tmp_path, [nobody, a, b], [reward]), a_small_job(), pace=FAST)
        await training

    assert_every_prompt_once(learner)
    assert min(len(one.seeds) for one in rollouts) >= 10


async def test_a_late_rollout_starts_with_the_newest_policy(tmp_path: Path, unused_tcp_port: int) -> None:
    learner, first, late = FakeLearner(tmp_path), FakeRollout(seconds=0.02), FakeRollout(seconds=0.02)
    mortal = Mortal(late.app, port=unused_tcp_port)

    async with running(first.app(), FakeReward(by_first_digit).app()) as (a, reward), asyncio.timeout(90):
        training = asyncio.create_task(learner.train(steps=6))
        peers = surroundings(tmp_path, [a, f"http://127.0.0.1:{unused_tcp_port}"], [reward])
        coordinating = asyncio.create_task(coordinate(peers, a_small_job(steps=6), pace=FAST))
        while len(learner.facts) < 2:  # noqa: ASYNC110 - the fake counts
            await asyncio.sleep(0.002)
        await mortal.start()
        await coordinating
        await training
        await mortal.kill()

    assert int(late.labels[0].split("-")[0]) >= 1
    assert late.seeds
    assert_every_prompt_once(learner)


async def test_groups_of_a_rollout_that_falls_silent_are_asked_for_elsewhere(tmp_path: Path) -> None:
    learner, silent, other = FakeLearner(tmp_path), FakeRollout(seconds=0.01), FakeRollout(seconds=0.01)

    async with running(silent.app(), other.app(), FakeReward(by_first_digit).app()) as (a, b, reward):
        training = asyncio.create_task(learner.train(steps=3))
        coordinating = asyncio.create_task(
            coordinate(surroundings(tmp_path, [a, b], [reward]), a_small_job(), pace=FAST)
        )
        while len(silent.seeds) < 3:  # noqa: ASYNC110 - the fake counts
            await asyncio.sleep(0.002)
        silent.is_silent = True
        await coordinating
        await training
        silent.is_silent = False

    assert_every_prompt_once(learner)
    assert set(silent.seeds) & set(other.seeds)


async def test_stale_batches_are_never_older_than_the_bound(tmp_path: Path) -> None:
    learner = FakeLearner(tmp_path, seconds=0.02)

    await run(a_small_job(steps=8, staleness=2), learner, FakeRollout(seconds=0.005), FakeReward(by_first_digit))

    lags = [facts.step - 1 - scored.group.oldest_step for facts in learner.facts for scored in facts.groups]
    assert 0 < max(lags) <= 2
    assert_every_prompt_once(learner)


async def test_a_request_that_every_rollout_refuses_ends_the_attempt_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        await run(a_small_job(), FakeLearner(tmp_path), FakeRollout(refusals=10**6), FakeReward(by_first_digit))

    leaf: BaseException = caught.value
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    assert isinstance(leaf, TrainerError)
    assert "no such parameter" in str(leaf)


async def test_a_coordinator_without_rollouts_says_so(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no rollout is named in .*peers\.json or RLVR_ROLLOUTS"):
        await coordinate(surroundings(tmp_path, [], ["http://127.0.0.1:9"]), a_small_job())


async def test_only_the_newest_batches_are_kept(tmp_path: Path) -> None:
    await run(a_small_job(steps=11), FakeLearner(tmp_path), FakeRollout(), FakeReward(by_first_digit))

    kept = sorted(path.name for path in (tmp_path / "attempts" / "a000" / "batches").iterdir())
    assert kept == [f"{step:06d}.facts" for step in range(4, 12)]
