"""Random lives of a coordinator: answers in any order, easy and broken prompts, crashes at any moment.

`live` drives the real intake, ledger and chronicle; the learner trains and commits when chance says so; nothing sleeps.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import a_scored_group
from rlvr_trainer.coordinator.admission import Limits, fate
from rlvr_trainer.coordinator.chronicle import Chronicle
from rlvr_trainer.coordinator.exchange import Policy, Resume
from rlvr_trainer.coordinator.intake import Intake
from rlvr_trainer.coordinator.produce import Produced
from rlvr_trainer.metrics import Board
from rlvr_trainer.samples import CoordinatorState, Fate, Ledger, Outcome, StepFacts

MIXED = (Outcome.CORRECT, Outcome.WRONG)
EASY = (Outcome.CORRECT, Outcome.CORRECT)
BROKEN = (Outcome.CORRECT, Outcome.ERROR)
STEPS, PROMPTS = 6, 3


def outcomes_of(position: int) -> tuple[Outcome, Outcome]:
    """A third of all prompts is easy and some break the verifier: a fact about a prompt, not about time."""
    return random.Random(position).choices([MIXED, EASY, BROKEN], weights=[6, 3, 1])[0]


def produced_at(position: int, *, step: int) -> Produced:
    scored = a_scored_group(position, outcomes=outcomes_of(position), step=step)
    return Produced(scored=scored, fate=fate(scored, drops_flat=True))


@dataclass
class Learner:
    """Trains batches in order and commits every so many."""

    checkpoint_every: int
    committed: list[StepFacts] = field(default_factory=list)
    uncommitted: list[StepFacts] = field(default_factory=list)

    @property
    def resume(self) -> Resume:
        state = self.committed[-1].state if self.committed else CoordinatorState()
        return Resume(step=len(self.committed), state=state)

    def train(self, facts: StepFacts) -> None:
        self.uncommitted.append(facts)
        if facts.step % self.checkpoint_every == 0 or facts.step == STEPS:
            self.committed += self.uncommitted
            self.uncommitted = []


class Attempt:
    """One life of a coordinator between a resume and a crash."""

    def __init__(self, learner: Learner, chance: random.Random, *, staleness: int, tasks: asyncio.TaskGroup) -> None:
        limits = Limits(steps=STEPS, prompts_per_step=PROMPTS, max_staleness=staleness, drops_flat=True)
        learner.uncommitted = []
        self.learner, self.chance, self.version = learner, chance, learner.resume.step
        self.unanswered: dict[int, tuple[asyncio.Future[Produced], int]] = {}
        self.handed: list[StepFacts] = []
        self.chronicle = Chronicle(learner.resume, policy=Policy(step=self.version, label="p"), board=Board())
        self.intake = Intake(self.ask, limits=limits, resume=learner.resume, tasks=tasks, board=Board())
        self.handing = tasks.create_task(self.hand_over())
        self.intake.policy_is(self.version)

    async def ask(self, position: int) -> Produced:
        answer = asyncio.get_running_loop().create_future()
        self.unanswered[position] = (answer, self.version)
        return await answer

    async def hand_over(self) -> None:
        for step in range(self.version + 1, STEPS + 1):
            self.handed.append(self.chronicle.close(step, await self.intake.next_batch()))

    def happen(self) -> None:
        """Some group is answered, or some batch is trained."""
        is_trainable = bool(self.handed)
        assert is_trainable or self.unanswered, "everybody waits for somebody else"
        if is_trainable and (not self.unanswered or self.chance.random() < 0.3):
            self.train()
        else:
            position = self.chance.choice(list(self.unanswered))
            answer, step = self.unanswered.pop(position)
            answer.set_result(produced_at(position, step=step))

    def train(self) -> None:
        facts = self.handed.pop(0)
        self.learner.train(facts)
        self.version = facts.step
        self.chronicle.learned(Policy(step=self.version, label="p"), None)
        self.intake.policy_is(self.version)

    def crash(self) -> None:
        self.handing.cancel()
        for answer, _ in self.unanswered.values():
            answer.cancel()


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def live(seed: int, *, staleness: int, crash_rate: float, checkpoint_every: int = 1) -> list[StepFacts]:
    """What a job trained, attempt after attempt, until the last step is committed."""
    chance, learner = random.Random(seed), Learner(checkpoint_every)
    while learner.resume.step < STEPS:
        async with asyncio.TaskGroup() as tasks:
            attempt = Attempt(learner, chance, staleness=staleness, tasks=tasks)
            await settle()
            while learner.resume.step < STEPS and chance.random() >= crash_rate:
                attempt.happen()
                await settle()
            attempt.crash()
    return learner.committed


def positions(facts: StepFacts) -> list[int]:
    return [scored.group.prompt.position for scored in facts.groups]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 3), st.sampled_from([0.0, 0.02, 0.1]), st.integers(1, 3))
def test_every_prompt_is_trained_or_dropped_exactly_once(
    seed: int, staleness: int, crash_rate: float, checkpoint_every: int
) -> None:
    history = asyncio.run(live(seed, staleness=staleness, crash_rate=crash_rate, checkpoint_every=checkpoint_every))

    fates = [(p, Fate.TRAINED) for facts in history for p in positions(facts)]
    fates += [(one.position, one.fate) for facts in history for one in facts.dropped]
    used_up = len(fates)
    assert sorted(fates) == [(p, produced_at(p, step=0).fate) for p in range(used_up)]
    assert history[-1].state.ledger == Ledger(watermark=used_up, counts=Counter(fate for _, fate in fates))
    assert history[-1].state.ledger.counts[Fate.TRAINED] == STEPS * PROMPTS


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 3), st.sampled_from([0.0, 0.05]))
def test_no_group_is_older_than_the_bound(seed: int, staleness: int, crash_rate: float) -> None:
    history = asyncio.run(live(seed, staleness=staleness, crash_rate=crash_rate))

    lags = [facts.step - 1 - scored.group.oldest_step for facts in history for scored in facts.groups]
    assert 0 <= min(lags) <= max(lags) <= staleness


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.05]), st.integers(1, 3))
def test_synchronous_batches_depend_on_the_prompts_alone(seed: int, crash_rate: float, checkpoint_every: int) -> None:
    history = asyncio.run(live(seed, staleness=0, crash_rate=crash_rate, checkpoint_every=checkpoint_every))

    that_count = [p for p in range(100) if outcomes_of(p) == MIXED]
    expected = [that_count[n * PROMPTS : (n + 1) * PROMPTS] for n in range(STEPS)]
    assert [positions(facts) for facts in history] == expected


def test_staleness_is_used_when_the_learner_is_slow() -> None:
    history = asyncio.run(live(3, staleness=2, crash_rate=0.0))

    assert max(facts.step - 1 - scored.group.oldest_step for facts in history for scored in facts.groups) == 2
