"""READ THIS FIRST: how facts become gradient steps, policies and checkpoints.

One thread, one step after the other; with S > 0 the next batch is often there before the step is done.  Of several
ranks each goes through the same loop; the exchange, the publisher and the keeper of all but the first are silent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rlvr_api import ModelSpec, OptimizerSpec
from rlvr_trainer.learner.backends.base import Diverged
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.broadcasting.sender import Sender
from rlvr_trainer.learner.exchange import Exchange
from rlvr_trainer.learner.keeper import Keeper
from rlvr_trainer.learner.microbatches import Dealing, plan_step
from rlvr_trainer.learner.observing import Observer, Occasions, probe_for
from rlvr_trainer.learner.outcomes import tokens_of
from rlvr_trainer.learner.publish import Publisher
from rlvr_trainer.learner.reporting import report_of, show
from rlvr_trainer.learner.schedule import learning_rate
from rlvr_trainer.learner.signing import sign
from rlvr_trainer.learner.state import Boundary
from rlvr_trainer.learner.step import Findings, Method, take_step
from rlvr_trainer.learner.stopwatch import Stopwatch
from rlvr_trainer.metrics import Board
from rlvr_trainer.samples import StepFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """Everything a step needs."""

    method: Method
    dealing: Dealing
    optimizer: OptimizerSpec
    num_steps: int
    evaluate_every: int
    exchange: Exchange
    publisher: Publisher
    sender: Sender
    model: ModelSpec
    keeper: Keeper
    board: Board


def train(learner: Learner, boundary: Boundary) -> None:
    """Spend facts on gradient steps until the last step."""
    observer, watch = observer_of(learner, boundary), Stopwatch()
    while boundary.step < learner.num_steps:
        with watch.phase("wait"):
            facts = learner.exchange.take(boundary.step + 1)
        findings = learn(learner, facts, watch)
        with watch.phase("observe"):
            probe = probe_for(boundary.probe, facts, findings)
            metrics = observer.observe(facts, findings, learning_rate=rate_of(facts.step, learner), probe=probe)
        report = report_of(facts, metrics, findings.stage, tokens_N=tokens_of(facts), watch=watch)
        learner.exchange.report(report)
        show(learner.board, report, watch, num_tokens=findings.stage.batch.num_tokens)
        watch = Stopwatch()
        with watch.phase("publish"):
            publish(learner, report.step)
        boundary = Boundary(step=report.step, state=facts.state, history=(*boundary.history, report), probe=probe)
        with watch.phase("checkpoint"):
            learner.keeper.keep(boundary)


def publish(learner: Learner, step: int) -> None:
    """The policy of `step` finished steps, signed, for rollouts to load, or to receive if they can."""
    backend, publisher = learner.method.backend, learner.publisher
    signature = sign(backend, learner.model, vocabulary=publisher.vocabulary)
    weights, adapter = backend.weights(), backend.adapter()  # collective, and over before the first rank meets others
    learner.sender.prepare()
    label = publisher.publish(step, weights, signature=signature, adapter=adapter)
    learner.sender.send(label, weights, signature)


def learn(learner: Learner, facts: StepFacts, watch: Stopwatch) -> Findings:
    """One gradient step on the facts, and what it found."""
    method = learner.method
    with watch.phase("build"):
        batch = build_batch(facts, method.recipe).to(method.backend.device)
        plan = plan_step(batch, learner.dealing, step=facts.step, ranks=method.ranks)
    try:
        return take_step(batch, plan, method, learning_rate=rate_of(facts.step, learner), watch=watch)
    except Diverged as error:
        raise Diverged(_advice(error, kept=learner.exchange.set_aside(facts.step), step=facts.step)) from error


def observer_of(learner: Learner, boundary: Boundary) -> Observer:
    """Who looks at the steps of the attempt that begins at `boundary`."""
    return Observer(
        method=learner.method,
        token_budget=learner.dealing.token_budget,
        exchange=learner.exchange,
        occasions=Occasions(
            first_step=boundary.step + 1, last_step=learner.num_steps, evaluate_every=learner.evaluate_every
        ),
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


def _advice(error: Diverged, *, kept: Path, step: int) -> str:
    return (
        f"step {step}, {error}. Nothing was updated with it, and its batch is kept in {kept}. "
        "Lower training.optimizer.learningRate, or look into the batch for extreme log-probabilities."
    )
