"""One attempt, put together from the job and let run: from what the learner resumed to result.json.

Everything is built whole before it is used; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rlvr_api import EvalData, Progress, RLVRJob, SamplingSpec
from rlvr_api.recipe import resolve
from rlvr_trainer.algorithms.targets import length_grid
from rlvr_trainer.coordinator.admission import Limits
from rlvr_trainer.coordinator.chronicle import Chronicle
from rlvr_trainer.coordinator.exam import Exam
from rlvr_trainer.coordinator.exchange import LearnerFolder
from rlvr_trainer.coordinator.generation import Sampling, sampling_of
from rlvr_trainer.coordinator.intake import Intake
from rlvr_trainer.coordinator.judge import Judge
from rlvr_trainer.coordinator.loop import Crew, follow_policies, hand_over_batches
from rlvr_trainer.coordinator.monitor import Monitor, Search
from rlvr_trainer.coordinator.produce import Production, produce
from rlvr_trainer.coordinator.progress import Known, progress_of, result_of, write_result
from rlvr_trainer.coordinator.rollouts import Pace, Place, Rollouts
from rlvr_trainer.data.prompts import Prompts, monitor_of
from rlvr_trainer.metrics import Board
from rlvr_trainer.peers import AskPeers, keep_all
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.transport import Client

log = logging.getLogger(__name__)
AskProgress = Callable[[], Progress]
_REPLICA_QUEUE: Final = 2
"""A replica is given this many times what it works on at once, so that a finished group leaves no gap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is known before the learner says where to begin."""

    job: RLVRJob
    surroundings: Surroundings
    peers: AskPeers
    prompts: Prompts
    board: Board
    client: Client
    policies_url: str
    pace: Pace


async def run(attempt: Attempt, *, announce: Callable[[AskProgress], None]) -> None:
    """Follow the learner to the last step; `announce` is told how to ask for progress as soon as there is any."""
    learner = LearnerFolder(attempt.surroundings.attempt_folder)
    resume = await learner.resume()
    log.info("the learner begins after step %d of %d", resume.step, attempt.job.spec.training.steps)
    first_policy = await learner.policy()
    chronicle = Chronicle(resume, policy=first_policy, board=attempt.board)
    production = _production(attempt, label=first_policy.label)
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(keep_all(attempt.peers, production.rollouts))
        crew = Crew(
            learner=learner,
            rollouts=production.rollouts,
            judge=production.judge,
            intake=Intake(
                functools.partial(produce, production=production),
                limits=production.limits,
                resume=resume,
                tasks=tasks,
                board=attempt.board,
            ),
            exam=_exam(attempt),
            monitor=_monitor(attempt),
            limits=production.limits,
            chronicle=chronicle,
        )
        announce(functools.partial(_progress, attempt, crew))
        handing = tasks.create_task(hand_over_batches(crew, folder=attempt.surroundings.attempt_folder / "batches"))
        await follow_policies(crew)
        await handing
        keeping.cancel()
    result = result_of(chronicle.state, policy=chronicle.policy, wall_seconds=chronicle.wall_seconds)
    write_result(result, folder=attempt.surroundings.folder)
    if attempt.surroundings.last_words is not None:
        attempt.surroundings.last_words.write_text(_progress(attempt, crew).model_dump_json(by_alias=True))


def _limits(job: RLVRJob) -> Limits:
    return Limits(
        steps=job.spec.training.steps,
        prompts_per_step=job.spec.training.prompts_per_step,
        max_staleness=job.spec.training.max_staleness,
        drops_flat=resolve(job.spec.algorithm).dynamic_sampling.enabled,
    )


def _sampling(attempt: Attempt, how: SamplingSpec | EvalData, *, num_completions: int) -> Sampling:
    return sampling_of(
        how,
        training=attempt.job.spec.rollout.sampling,
        num_completions=num_completions,
        end_ids=attempt.prompts.tokens.end_ids,
    )


def _rollouts(attempt: Attempt, *, label: str) -> Rollouts:
    place = Place(
        max_in_flight=_REPLICA_QUEUE * attempt.job.spec.rollout.max_concurrent,
        policies_url=attempt.policies_url,
        pace=attempt.pace,
    )
    return Rollouts(attempt.client, attempt.board, place=place, label=label, decode=attempt.prompts.tokens.decode)


def _judge(attempt: Attempt) -> Judge:
    patience = float(attempt.job.spec.limits.hang_timeout_seconds)
    return Judge(attempt.client, attempt.board, urls=lambda: attempt.peers().rewards, patience=patience)


def _production(attempt: Attempt, *, label: str) -> Production:
    spec = attempt.job.spec
    return Production(
        prompts=attempt.prompts.train,
        rollouts=_rollouts(attempt, label=label),
        judge=_judge(attempt),
        sampling=_sampling(attempt, spec.rollout.sampling, num_completions=spec.training.group_size),
        job_seed=spec.training.seed,
        limits=_limits(attempt.job),
        board=attempt.board,
    )


def _exam(attempt: Attempt) -> Exam | None:
    spec = attempt.job.spec.data.eval
    if spec is None or attempt.prompts.held_out is None:
        return None
    return Exam(
        purpose="eval",
        prompts=attempt.prompts.held_out,
        sampling=_sampling(attempt, spec, num_completions=spec.completions),
        job_seed=attempt.job.spec.training.seed,
        every=spec.every,
    )


def _monitor(attempt: Attempt) -> Monitor | None:
    spec, monitor = attempt.job.spec, monitor_of(attempt.job)
    if monitor is None or attempt.prompts.monitor is None:
        return None
    exam = Exam(
        purpose="monitor",
        prompts=attempt.prompts.monitor,
        sampling=_sampling(attempt, spec.rollout.sampling, num_completions=monitor.monitor_completions),
        job_seed=spec.training.seed,
        every=monitor.monitor_every,
    )
    longest = spec.rollout.sampling.max_tokens
    search = Search(
        grid=length_grid(monitor.lowest_tokens, longest, step=monitor.grid_step),
        longest=longest,
        group_size=monitor.monitor_completions,
        rounding=monitor.rounding,
    )
    return Monitor(exam=exam, search=search)


def _progress(attempt: Attempt, crew: Crew) -> Progress:
    chronicle = crew.chronicle
    return progress_of(
        Known(
            attempt=attempt.surroundings.attempt,
            total_steps=crew.limits.steps,
            closed_steps=chronicle.step,
            prompts_per_step=crew.limits.prompts_per_step,
            policy=chronicle.policy,
            report=chronicle.report,
            state=chronicle.state,
            tokens_per_second=chronicle.tokens_per_second,
            num_waiting=crew.intake.num_waiting,
            num_rollouts_ready=crew.rollouts.num_ready,
            activity=chronicle.activity,
            checkpoint=crew.learner.checkpoint(),
            now=time.time(),
        )
    )
