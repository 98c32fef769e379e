"""READ THIS FIRST: `rlvr run`, one job with all its roles as processes of this machine, from the checks to the report.

Nothing starts before everything that can be checked is; nothing is left behind, however it ends.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from rlvr_api import RLVRJob
from rlvr_trainer.one_machine.checks import check_run
from rlvr_trainer.one_machine.events import Ending
from rlvr_trainer.one_machine.folder import RunFolder, located, refuse_another_job
from rlvr_trainer.one_machine.live import open_live
from rlvr_trainer.one_machine.plain import PlainScreen
from rlvr_trainer.one_machine.plan import ProcessSpec, command, limits_of, num_ports, plan, scrape_targets
from rlvr_trainer.one_machine.ports import free_ports
from rlvr_trainer.one_machine.processes import Command, open_processes
from rlvr_trainer.one_machine.report.closeup import read_closeup
from rlvr_trainer.one_machine.report.history import Record, read_record
from rlvr_trainer.one_machine.report.page import Heading, render_page
from rlvr_trainer.one_machine.state import Rule, State
from rlvr_trainer.one_machine.summary import (
    LOG_LINES,
    End,
    Origin,
    already_complete,
    closing,
    opening,
    result_document,
)
from rlvr_trainer.one_machine.view import Screen
from rlvr_trainer.one_machine.watch import Run, watch
from rlvr_trainer.storage.checkpoints import open_checkpoints

Cast = Callable[[RLVRJob, RunFolder], tuple[ProcessSpec, ...]]
"""Which processes a job is; tests put their own actors in."""


def cast_roles(job: RLVRJob, folder: RunFolder) -> tuple[ProcessSpec, ...]:
    """The processes of `job` on free ports of this machine."""
    return plan(job, folder=folder, ports=free_ports(num_ports(job)))


def run_job(job: RLVRJob, *, directory: Path, plain: bool) -> int:
    """Check `job` and train it in `directory`, going on with what is there; returns the exit code."""
    folder = RunFolder(directory)
    job = located(job, folder)
    with folder.locked():
        stored = folder.stored_job()
        if stored is not None:
            refuse_another_job(job, stored, folder=folder.root)
        result = folder.finished_result()
        if result is not None and result["steps"] >= job.spec.training.steps:
            _tell(already_complete(result, folder=folder))
            return 0
        check_run(job)
        return train(job, folder, plain=plain)


def train(job: RLVRJob, folder: RunFolder, *, plain: bool, cast: Cast = cast_roles) -> int:
    """Start every role, see them through, and leave a report; returns the exit code."""
    began = time.monotonic()
    folder.prepare(job)
    origin = Origin(attempt=folder.next_attempt(), checkpoint=newest_checkpoint(job))
    specs = cast(job, folder)
    folder.write(folder.targets, scrape_targets(job, specs))
    _tell(opening(job, specs, origin, folder=folder))
    with open_processes(folder.logs) as processes, _screen(plain=plain) as screen:
        state = asyncio.run(watch(_what_to_watch(job, specs, folder, origin), processes, screen))
    record = conclude(job, state, folder)
    assert state.outcome is not None, "watching ends with an outcome"
    tail = _log_tail(folder, state.outcome.culprit)
    end = End(outcome=state.outcome, record=record, elapsed=time.monotonic() - began, log_tail=tail)
    _tell(closing(job, end, folder=folder))
    return state.outcome.exit_code


def conclude(job: RLVRJob, state: State, folder: RunFolder) -> Record:
    """Write result.json of a complete run, and report.html of any."""
    outcome = state.outcome
    assert outcome is not None, "only a run that is over has a conclusion"
    result = folder.finished_result() if outcome.ending is Ending.COMPLETE else None
    if result is not None:
        folder.write(folder.result, result_document(job, result, attempt=state.attempt))
    assert job.spec.checkpoint.uri is not None, "a run knows where its checkpoints are"
    record = read_record(folder.work, checkpoints=job.spec.checkpoint.uri, result=result)
    heading = Heading(ending=outcome.ending.value, reason=outcome.reason, finished_at=time.time())
    closeup = read_closeup(folder.work, record.reports, model=job.spec.model)
    folder.report.write_text(render_page(job, record, heading, closeup))
    return record


def newest_checkpoint(job: RLVRJob) -> int | None:
    """Step of the newest complete checkpoint of `job`; None when there is none."""
    uri = job.spec.checkpoint.uri
    assert uri is not None, "a run knows where its checkpoints are"
    complete = [stored.step for stored in open_checkpoints(uri, keep=1).stored() if stored.is_complete]
    return max(complete, default=None)


def _what_to_watch(job: RLVRJob, specs: tuple[ProcessSpec, ...], folder: RunFolder, origin: Origin) -> Run:
    stage = Stage(specs, folder)
    return Run(
        job=job.metadata.name,
        total_steps=job.spec.training.steps,
        members={spec.name: spec.member for spec in specs},
        limits=limits_of(job),
        attempt=origin.attempt,
        checkpoint=origin.checkpoint,
        command=stage.command,
        started=stage.started,
        newest_checkpoint=lambda: newest_checkpoint(job),
        progress_url=next(f"{spec.url}/progress" for spec in specs if spec.role == "coordinator"),
        token=folder.token.read_text(),
    )


class Stage:
    """Prepares each start in the run's folder, and keeps processes.json up to date: who runs, as which process."""

    def __init__(self, specs: tuple[ProcessSpec, ...], folder: RunFolder) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._folder = folder
        self._running: dict[str, dict[str, object]] = {}

    def command(self, name: str, attempt: int) -> Command:
        spec = self._specs[name]
        spec.folder.mkdir(parents=True, exist_ok=True)
        if spec.member.rule is Rule.ATTEMPT:
            self._folder.claim_attempt(attempt)
        return command(spec, folder=self._folder, attempt=attempt)

    def started(self, name: str, attempt: int, process_id: int) -> None:
        spec = self._specs[name]
        self._running[name] = {"pid": process_id, "role": spec.role, "attempt": attempt, "url": spec.url}
        self._folder.write(self._folder.processes, self._running)


@contextmanager
def _screen(*, plain: bool) -> Iterator[Screen]:
    console = Console()
    if plain or not console.is_terminal:
        yield PlainScreen(_line)
        return
    with open_live(console) as live:
        yield live


def _tell(lines: Iterable[str]) -> None:
    for line in lines:
        _line(line)


def _line(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _log_tail(folder: RunFolder, name: str) -> tuple[str, ...]:
    path = folder.logs / f"{name}.log"
    if not name or not path.exists():
        return ()
    with path.open(errors="replace") as log:
        return tuple(line.rstrip() for line in deque(log, LOG_LINES))
