"""READ THIS FIRST: how facts become gradient steps, policies and checkpoints.

One thread, one step after the other; with S > 0 the next batch is often there before the step is done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rlvr_api import OptimizerSpec
from rlvr_trainer.learner.backends.base import Diverged
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.exchange import Exchange
from rlvr_trainer.learner.findings import metrics_of, metrics_of_process, num_tokens_of
from rlvr_trainer.learner.keeper import Keeper
from rlvr_trainer.learner.microbatches import Dealing, plan_step
from rlvr_trainer.learner.publish import Publisher
from rlvr_trainer.learner.schedule import learning_rate
from rlvr_trainer.learner.state import Boundary
from rlvr_trainer.learner.step import Method, take_step
from rlvr_trainer.learner.stopwatch import Stopwatch
from rlvr_trainer.metrics import Board
from rlvr_trainer.samples import StepFacts, StepReport

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """Everything a step needs."""

    method: Method
    dealing: Dealing
    optimizer: OptimizerSpec
    num_steps: int
    exchange: Exchange
    publisher: Publisher
    keeper: Keeper
    board: Board


def train(learner: Learner, boundary: Boundary) -> None:
    """Spend facts on gradient steps until the last step."""
    while boundary.step < learner.num_steps:
        watch = Stopwatch()
        with watch.phase("wait"):
            facts = learner.exchange.take(boundary.step + 1)
        report = learn(learner, facts, watch)
        with watch.phase("publish"):
            learner.exchange.report(report)
            learner.publisher.publish(report.step, learner.method.backend.weights())
        boundary = Boundary(step=report.step, state=facts.state, history=(*boundary.history, report))
        with watch.phase("checkpoint"):
            learner.keeper.keep(boundary)
        show(learner.board, report, watch, num_tokens=num_tokens_of(facts))


def learn(learner: Learner, facts: StepFacts, watch: Stopwatch) -> StepReport:
    """One gradient step on the facts, and what it found."""
    started = time.perf_counter()
    method, rate = learner.method, rate_of(facts.step, learner)
    with watch.phase("build"):
        batch = build_batch(facts, method.recipe).to(method.backend.device)
        plan = plan_step(batch, learner.dealing, step=facts.step)
    try:
        findings = take_step(batch, plan, method, learning_rate=rate, watch=watch)
    except Diverged as error:
        raise Diverged(_advice(error, kept=learner.exchange.set_aside(facts.step), step=facts.step)) from error
    return StepReport(
        step=facts.step,
        metrics={
            **metrics_of(facts, findings, method.recipe, learning_rate=rate),
            **metrics_of_process(num_tokens=batch.num_tokens, seconds=time.perf_counter() - started),
        },
        trained=merged(one.group.prompt.position for one in facts.groups),
        finished_at=time.time(),
    )


def rate_of(step: int, learner: Learner) -> float:
    """The learning rate of a step of this job."""
    spec = learner.optimizer
    return learning_rate(
        step,
        peak=spec.learning_rate,
        schedule=spec.schedule,
        warmup_steps=spec.warmup_steps,
        num_steps=learner.num_steps,
    )


def merged(positions: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Positions as ascending [start, end) spans."""
    spans: list[tuple[int, int]] = []
    for position in sorted(positions):
        start = spans.pop()[0] if spans and spans[-1][1] == position else position
        spans.append((start, position + 1))
    return tuple(spans)


def show(board: Board, report: StepReport, watch: Stopwatch, *, num_tokens: int) -> None:
    """Put a finished step on the board."""
    for name, value in report.metrics.items():
        board.set(name, value)
    for phase, seconds in watch.seconds.items():
        board.set("rlvr_learner_step_seconds", seconds, phase=phase)
    board.add("rlvr_learner_tokens_total", num_tokens)
    logger.info("step %d: %s", report.step, ", ".join(f"{phase} {s:.3f} s" for phase, s in watch.seconds.items()))


def _advice(error: Diverged, *, kept: Path, step: int) -> str:
    return (
        f"step {step}, {error}. Nothing was updated with it, and its batch is kept in {kept}. "
        "Lower training.optimizer.learningRate, or look into the batch for extreme log-probabilities."
    )
