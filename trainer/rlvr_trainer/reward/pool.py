"""Worker processes, the bounded queue before them, and the deadline of each item.

A worker judges one item at a time; fast verifiers are handed several at once and the next before they are through: a
message costs more than they do, and so does waiting for one.
An item that exceeds the deadline costs its worker: the process group is killed and replaced, the item's verdict is an
error (never a zero), and items behind it go to another worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from rlvr_trainer.errors import CorruptArtifact, InvalidInput, TrainerError, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.reward.dealing import CHUNK_SECONDS, Waiting
from rlvr_trainer.reward.frames import Item, Report, Setup
from rlvr_trainer.reward.processes import Worker, start_worker
from rlvr_trainer.samples import Outcome, Verdict
from rlvr_trainer.verifiers.verdicts import error, malformed

logger = logging.getLogger(__name__)
_UNKNOWN_VERIFIER: Final = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much the pool takes on."""

    num_workers: int
    deadline_seconds: float
    most_waiting: int = 8192
    """Items in the queue; more are refused."""
    most_characters: int = 1_000_000
    """A longer completion is malformed without being looked at."""


@dataclass(frozen=True, slots=True)
class _Job:
    item: Item
    verdict: asyncio.Future[Verdict]


def deadline_reason(seconds: float) -> str:
    return f"deadline of {seconds:g} s exceeded"


@asynccontextmanager
async def open_pool(setup: Setup, *, limits: Limits, board: Board) -> AsyncIterator[Pool]:
    """A pool whose workers are ready; they and all they started are gone when the block ends."""
    pool = Pool(setup, limits=limits, board=board)
    workers = await _start_all(setup, limits.num_workers)
    async with asyncio.TaskGroup() as tasks:
        working = [tasks.create_task(pool.work(worker)) for worker in workers]
        try:
            yield pool
        finally:
            for task in working:
                task.cancel()


async def _start_all(setup: Setup, num_workers: int) -> list[Worker]:
    """So many workers, or the first reason why there cannot be."""
    started = await asyncio.gather(*(start_worker(setup) for _ in range(num_workers)), return_exceptions=True)
    workers = [each for each in started if isinstance(each, Worker)]
    problems = [each for each in started if isinstance(each, BaseException)]
    if problems:
        await asyncio.gather(*(worker.kill() for worker in workers))
        raise problems[0]
    return workers


class Pool:
    """Judges items; see open_pool."""

    def __init__(self, setup: Setup, *, limits: Limits, board: Board) -> None:
        self._setup = setup
        self._limits = limits
        self._board = board
        for cause in ("deadline", "crash"):
            board.add("rlvr_reward_workers_killed_total", 0, reason=cause)
        self._waiting = Waiting[_Job](num_workers=limits.num_workers)
        self._arrival = asyncio.Event()
        self._mean_seconds = CHUNK_SECONDS  # so the first chunks are single items

    async def judge(self, items: Sequence[Item]) -> list[Verdict]:
        """One verdict per item, in order; Unavailable when the queue has no room for them now."""
        most = self._limits.most_waiting
        if len(items) > most:
            raise InvalidInput(f"{len(items)} items in one request; at most {most} are taken. Send several requests.")
        if len(self._waiting) + len(items) > most:
            raise Unavailable(f"{len(self._waiting)} items are waiting and {most} may; try again later.")
        loop = asyncio.get_running_loop()
        jobs = [_Job(item, loop.create_future()) for item in items]
        longest = self._limits.most_characters
        for job in jobs:
            if len(job.item.text) > longest:
                job.verdict.set_result(malformed(f"longer than {longest} characters"))
        self._waiting.add([job for job in jobs if not job.verdict.done()])
        self._arrived()
        return await asyncio.gather(*(job.verdict for job in jobs))

    async def work(self, worker: Worker) -> None:
        """Keep one worker busy for ever, replacing it when it is lost."""
        try:
            while True:
                jobs = await self._take(worker)
                if not worker.is_alive:
                    worker = await self._replace(worker)
                if not await self._run(worker, jobs):
                    worker = await self._replace(worker)
        finally:
            await worker.kill()

    async def _take(self, worker: Worker) -> list[_Job]:
        while not self._waiting:
            self._arrival.clear()
            await self._arrival.wait()
        return self._next(worker)

    def _next(self, worker: Worker) -> list[_Job]:
        jobs = self._waiting.take(worker, mean_seconds=self._mean_seconds)
        self._show_queue()
        return jobs

    async def _run(self, worker: Worker, jobs: Sequence[_Job]) -> bool:
        """Have `jobs` judged; False when that cost the worker."""
        open_jobs = deque(jobs)
        worker.give([job.item for job in jobs])
        try:
            while open_jobs:
                async with asyncio.timeout(self._limits.deadline_seconds):
                    reports = await worker.reports()
                for report in reports:
                    if not open_jobs or report.id != open_jobs[0].item.id:
                        raise CorruptArtifact(f"it sent a report on {report.id!r}, which is not its next item")
                    self._finish(open_jobs.popleft(), report)
                self._give_ahead(worker, open_jobs)
        except TimeoutError:
            await worker.kill()
            self._lose(open_jobs, deadline_reason(self._limits.deadline_seconds), cause="deadline")
            return False
        except TrainerError as problem:
            how = await worker.kill()
            self._lose(open_jobs, f"the verifier's process {how}: {problem}", cause="crash")
            return False
        return True

    def _give_ahead(self, worker: Worker, open_jobs: deque[_Job]) -> None:
        """Quick items follow while the last one is judged; behind a slow one they might wait while others are free."""
        if len(open_jobs) <= 1 and self._waiting and self._mean_seconds < CHUNK_SECONDS:
            jobs = self._next(worker)
            worker.give([job.item for job in jobs])
            open_jobs.extend(jobs)

    def _finish(self, job: _Job, report: Report) -> None:
        for part in report.judgement.parts:
            self._board.add("rlvr_reward_verdicts_total", verifier=part.kind, outcome=part.outcome.value)
            self._board.observe("rlvr_reward_verify_seconds", part.seconds, verifier=part.kind)
        seconds = sum(part.seconds for part in report.judgement.parts)
        self._mean_seconds += 0.05 * (seconds - self._mean_seconds)
        _answer(job, report.judgement.verdict)

    def _lose(self, open_jobs: Sequence[_Job], reason: str, *, cause: str) -> None:
        """The first open job cost the worker; the others were not begun."""
        logger.warning("a worker is lost: %s", reason)
        self._board.add("rlvr_reward_workers_killed_total", reason=cause)
        if open_jobs:
            self._board.add("rlvr_reward_verdicts_total", verifier=_UNKNOWN_VERIFIER, outcome=Outcome.ERROR.value)
            _answer(open_jobs[0], error(reason))
        self._waiting.give_back(list(open_jobs)[1:])
        self._arrived()

    def _arrived(self) -> None:
        self._arrival.set()
        self._show_queue()

    def _show_queue(self) -> None:
        self._board.set("rlvr_reward_queue_items", len(self._waiting))

    async def _replace(self, worker: Worker) -> Worker:
        """A new worker, however long it takes: it started once, so what hinders it now should pass."""
        self._waiting.release(worker)
        await worker.kill()
        delay = 0.1
        while True:
            try:
                return await start_worker(self._setup)
            except (TrainerError, OSError) as problem:
                logger.warning("a worker does not start, trying again in %.1f s: %s", delay, problem)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 10.0)


def _answer(job: _Job, verdict: Verdict) -> None:
    if not job.verdict.done():  # whoever asked may have gone away
        job.verdict.set_result(verdict)
