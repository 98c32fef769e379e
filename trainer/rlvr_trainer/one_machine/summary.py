"""What `rlvr run` says before the first process and after the last.  Pure: values in, lines out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rlvr_api import RLVRJob
from rlvr_trainer.one_machine.events import Ending
from rlvr_trainer.one_machine.folder import RunFolder
from rlvr_trainer.one_machine.plan import ProcessSpec
from rlvr_trainer.one_machine.report.history import Record
from rlvr_trainer.one_machine.report.page import ends
from rlvr_trainer.one_machine.state import Outcome
from rlvr_trainer.one_machine.words import duration, figure

LOG_LINES: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a run ended, with everything the user is told about it."""

    outcome: Outcome
    record: Record
    elapsed: float
    """Seconds since `rlvr run` began."""
    log_tail: tuple[str, ...]
    """Last lines of the culprit's log; empty when nobody is to blame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a run begins."""

    attempt: int
    checkpoint: int | None
    """Step of the newest complete checkpoint."""


def opening(job: RLVRJob, specs: Sequence[ProcessSpec], origin: Origin, *, folder: RunFolder) -> Iterator[str]:
    """What is about to be started, where to look, and where to scrape."""
    resumes = origin.checkpoint is not None and job.spec.checkpoint.resume == "auto"
    begins = f", going on from step {origin.checkpoint}" if resumes else ""
    yield f"{job.metadata.name}: {job.spec.training.steps} steps in {folder.root}"
    yield f"  starting   {', '.join(spec.name for spec in specs)} (attempt {origin.attempt}{begins})"
    yield f"  logs       {folder.logs}/NAME.log"
    yield f"  metrics    {specs[0].name} {specs[0].url}/metrics"
    for spec in specs[1:]:
        yield f"             {spec.name} {spec.url}/metrics"
    yield "  prometheus scrape_configs:"
    yield "             - job_name: rlvr"
    yield f"               file_sd_configs: [{{files: [{folder.targets}]}}]"


def closing(job: RLVRJob, end: End, *, folder: RunFolder) -> Iterator[str]:
    """The result, or what went wrong and the way out; and where everything is."""
    record, outcome = end.record, end.outcome
    steps = f"{record.step} of {job.spec.training.steps} steps"
    reason = f": {outcome.reason}" if outcome.reason else ""
    yield f"{outcome.ending.value}{reason}"
    yield f"  steps              {steps} in {duration(end.elapsed)} ({duration(record.wall_seconds)} of training)"
    yield from _numbers(record)
    yield f"  report             {folder.report}"
    yield f"  checkpoints        {job.spec.checkpoint.uri}"
    if outcome.ending is Ending.COMPLETE:
        yield f"  result             {folder.result}"
        return
    yield from _way_out(outcome, end.log_tail, folder=folder)


def result_document(job: RLVRJob, found: Mapping[str, Any], *, attempt: int) -> dict[str, Any]:
    """result.json of the run: the coordinator's account, with the job's name, its attempts and its speed."""
    speed = found["tokens"] / found["wallSeconds"] if found["wallSeconds"] > 0 else None
    return {"job": job.metadata.name, **found, "tokensPerSecond": speed, "attempts": attempt + 1}


def already_complete(result: Mapping[str, Any], *, folder: RunFolder) -> Iterator[str]:
    """For a folder whose run has reached its last step."""
    before, after = (figure(result[f"evalAccuracy{when}"]) for when in ("Before", "After"))
    yield f"already complete: {result['steps']} steps, held-out accuracy {before} -> {after}"
    yield f"  report             {folder.report}"
    yield f"  result             {folder.result}"
    yield "  To train further, raise spec.training.steps; to start afresh, choose a new folder with --dir."


def _numbers(record: Record) -> Iterator[str]:
    first, last = ends(record.evaluations)
    if first is not None and last is not None:
        gain = f"{last.accuracy - first.accuracy:+.3f}"
        yield f"  held-out accuracy  {figure(first.accuracy)} -> {figure(last.accuracy)} ({gain})"
    speed = f", {record.tokens / record.wall_seconds:,.0f} tokens/s" if record.wall_seconds > 0 else ""
    yield f"  tokens             {record.tokens:,}{speed}"


def _way_out(outcome: Outcome, log_tail: Iterable[str], *, folder: RunFolder) -> Iterator[str]:
    lines = tuple(log_tail)
    if lines:
        yield f"  last lines of {folder.logs / outcome.culprit}.log:"
        yield from (f"    {line}" for line in lines)
    if outcome.ending is Ending.FAILED:
        yield "  Mend what the log names, then run the same command again: it resumes from the newest checkpoint."
    else:
        yield "  Run the same command again to go on from the newest checkpoint."
