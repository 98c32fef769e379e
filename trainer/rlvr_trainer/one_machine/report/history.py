"""What is known of a run when it ends: its committed steps, evaluations and counts.

The newest checkpoint is the truth up to its step; reports of later steps come from the newest attempt that has them.  A
step that an attempt made and a later attempt made again is counted once, as the later one made it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rlvr_trainer.errors import CorruptArtifact, TrainerError
from rlvr_trainer.samples import CoordinatorState, Evaluation, StepReport
from rlvr_trainer.storage.checkpoints import open_checkpoints
from rlvr_trainer.storage.layout import checkpoint_name
from rlvr_trainer.wire import from_json

logger = logging.getLogger(__name__)
_HISTORY: Final = "history.jsonl"
_STATE: Final = "coordinator.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """What the newest complete checkpoint holds besides weights."""

    step: int = 0
    history: tuple[StepReport, ...] = ()
    state: CoordinatorState = field(default_factory=CoordinatorState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A run, as far as it came."""

    step: int
    """Finished steps."""
    reports: tuple[StepReport, ...]
    """One a step, ascending."""
    evaluations: tuple[Evaluation, ...]
    groups: Mapping[str, int]
    """Groups by fate."""
    tokens: int
    """Completion tokens sampled for training."""
    wall_seconds: float
    """Time in committed steps."""


def read_record(work: Path, *, checkpoints: str, result: Mapping[str, Any] | None) -> Record:
    """Gather a run's record from its folder, its checkpoints and, once there is one, its result."""
    committed = read_committed(checkpoints)
    reports = merge(committed.history, lineage(_attempts(work)))
    if result is not None:
        return _of_result(reports, result)
    state = committed.state
    return Record(
        step=max(committed.step, reports[-1].step if reports else 0),
        reports=reports,
        evaluations=state.evaluations,
        groups=_groups(state),
        tokens=state.generated_tokens,
        wall_seconds=state.wall_seconds,
    )


def read_committed(uri: str) -> Committed:
    """The newest complete checkpoint's account; an empty one when there is none or the store is away."""
    try:
        checkpoints = open_checkpoints(uri, keep=1)
        newest = checkpoints.newest(lambda _: True)
        if newest is None:
            return Committed()
        folder, store = checkpoint_name(newest.step), checkpoints.store
        lines = store.get_bytes(f"{folder}/{_HISTORY}").splitlines()
        return Committed(
            step=newest.step,
            history=tuple(from_json(line, StepReport) for line in lines),
            state=from_json(store.get_bytes(f"{folder}/{_STATE}"), CoordinatorState),
        )
    except TrainerError as error:
        logger.warning("the report does without the newest checkpoint: %s", error)
        return Committed()


def merge(committed: Iterable[StepReport], later: Iterable[StepReport]) -> tuple[StepReport, ...]:
    """Committed reports, then those of later steps."""
    by_step = {report.step: report for report in later} | {report.step: report for report in committed}
    return tuple(by_step[step] for step in sorted(by_step))


def lineage(attempts: Iterable[tuple[int, tuple[StepReport, ...]]]) -> tuple[StepReport, ...]:
    """Reports of attempts, oldest first, each given with the step it resumed from: what it left behind is forgotten."""
    kept: dict[int, StepReport] = {}
    for resumed, reports in attempts:
        kept = {step: report for step, report in kept.items() if step <= resumed}
        kept |= {report.step: report for report in reports}
    return tuple(kept[step] for step in sorted(kept))


def _attempts(work: Path) -> Iterable[tuple[int, tuple[StepReport, ...]]]:
    for folder in sorted((work / "attempts").glob("a*"), key=lambda path: int(path.name[1:])):
        resume = folder / "resume.json"
        if resume.exists():
            yield int(json.loads(resume.read_bytes())["step"]), tuple(_reports(folder / "reports"))


def _reports(folder: Path) -> Iterable[StepReport]:
    for path in sorted(folder.glob("*.json")):
        try:
            yield from_json(path.read_bytes(), StepReport)
        except CorruptArtifact as error:
            logger.warning("the report does without %s: %s", path, error)


def _of_result(reports: tuple[StepReport, ...], result: Mapping[str, Any]) -> Record:
    return Record(
        step=result["steps"],
        reports=reports,
        evaluations=tuple(from_json(json.dumps(found), Evaluation) for found in result["evaluations"]),
        groups={"trained": result["trained"], **result["dropped"]},
        tokens=result["tokens"],
        wall_seconds=result["wallSeconds"],
    )


def _groups(state: CoordinatorState) -> dict[str, int]:
    return {fate.value: number for fate, number in state.ledger.counts.items()}
