"""What an attempt knows about itself: the state that will be committed, the newest policy and report, the clock.

The one owner of CoordinatorState.  Others tell it what happened; it answers with facts for the learner and with what
people want to know.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from rlvr_trainer.coordinator.batches import Closing, close, num_tokens, with_evaluation
from rlvr_trainer.coordinator.exam import Exam
from rlvr_trainer.coordinator.exchange import Policy, Resume
from rlvr_trainer.coordinator.produce import Produced
from rlvr_trainer.metrics import Board
from rlvr_trainer.samples import CoordinatorState, Evaluation, Monitoring, ScoredGroup, StepFacts, StepReport

log = logging.getLogger(__name__)


class Chronicle:
    """The memory of one attempt."""

    def __init__(self, resume: Resume, *, policy: Policy, board: Board) -> None:
        self._board = board
        self._first_step = resume.step
        self._mark = time.monotonic()
        self._learned_at = self._mark
        self.step = resume.step
        """Steps whose batch is closed."""
        self.state: CoordinatorState = resume.state
        self._show_targets()
        self.policy = policy
        self.report: StepReport | None = None
        """Of the newest policy's step, if that step was trained in this attempt."""
        self.tokens_per_second: float | None = None
        self.activity: str | None = None
        """What holds up the usual business, if anything does."""

    @property
    def evaluated_steps(self) -> frozenset[int]:
        return frozenset(evaluation.step for evaluation in self.state.evaluations)

    @property
    def monitored_step(self) -> int | None:
        """Of the newest length targets; None before the first."""
        return self.state.monitoring.step if self.state.monitoring is not None else None

    @property
    def wall_seconds(self) -> float:
        """Time in committed steps, up to the newest policy."""
        since_last_batch = max(0.0, self._learned_at - self._mark) if self.step > self._first_step else 0.0
        return self.state.wall_seconds + since_last_batch

    def close(self, step: int, produced: Sequence[Produced]) -> StepFacts:
        """The facts of `step`; from now on its prompts are used up."""
        now = time.monotonic()
        closing = Closing(step=step, policy_step=self.policy.step, seconds=now - self._mark)
        facts = close(produced, closing=closing, state=self.state)
        self.step, self.state, self._mark = step, facts.state, now
        log.info("batch %d: %d groups, %d dropped", step, len(facts.groups), len(produced) - len(facts.groups))
        self._count(produced, seconds=closing.seconds)
        return facts

    def learned(self, policy: Policy, report: StepReport | None) -> None:
        """The learner published a policy."""
        self.policy, self.report, self._learned_at = policy, report, time.monotonic()

    def evaluated(self, evaluation: Evaluation) -> None:
        """A policy was examined; before the first batch that takes no step's time."""
        self.state = with_evaluation(self.state, evaluation)
        if self.step == self._first_step:
            self._mark = time.monotonic()
        self._board.set("rlvr_coordinator_evaluation_accuracy_ratio", evaluation.accuracy)
        for k, ratio in evaluation.pass_at.items():
            self._board.set("rlvr_coordinator_evaluation_pass_ratio", ratio, k=str(k))
        log.info(
            "held-out accuracy at step %d: %.3f of %d completions, %d could not be judged",
            evaluation.step,
            evaluation.accuracy,
            evaluation.num_completions,
            evaluation.num_errors,
        )

    def monitored(self, monitoring: Monitoring) -> None:
        """Lengths were measured: from the next batch on the new targets hold."""
        self.state = msgspec.structs.replace(self.state, monitoring=monitoring)
        self._show_targets()
        log.info("length targets from step %d on: %s", monitoring.step + 1, monitoring.length_targets)

    @contextmanager
    def examining(self, exam: Exam, activity: str) -> Iterator[None]:
        """Say so while the block runs, and how long it took."""
        self.activity, began = activity, time.monotonic()
        try:
            yield
        finally:
            self.activity = None
        self._board.observe("rlvr_coordinator_exam_seconds", time.monotonic() - began, purpose=exam.purpose)

    def _count(self, produced: Sequence[Produced], *, seconds: float) -> None:
        for one in produced:
            fate, scored = one.fate.value, one.scored
            self._board.add("rlvr_coordinator_groups_total", fate=fate)
            self._board.add("rlvr_coordinator_solved_groups_total", fate=fate, solved=solved(scored))
            if scored.num_judged:
                ratio = scored.num_correct / scored.num_judged
                self._board.observe("rlvr_coordinator_group_accuracy_ratio", ratio, fate=fate)
        self.tokens_per_second = num_tokens(produced) / seconds
        self._board.set("rlvr_coordinator_completion_tokens_per_second", self.tokens_per_second)

    def _show_targets(self) -> None:
        if (monitoring := self.state.monitoring) is None:
            return
        for name, target in monitoring.length_targets.items():
            self._board.set("rlvr_coordinator_length_target_tokens", target, difficulty=name)
            self._board.set("rlvr_coordinator_monitor_prompts", monitoring.num_prompts[name], difficulty=name)


def solved(scored: ScoredGroup) -> str:
    """How much of a group is right: none, some or all of what was judged; unknown when nothing was."""
    if scored.num_judged == 0:
        return "unknown"
    if scored.num_correct == scored.num_judged:
        return "all"
    return "some" if scored.num_correct else "none"
