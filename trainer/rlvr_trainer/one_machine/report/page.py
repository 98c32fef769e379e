"""A run's record becomes one HTML page without any reference to the network.

What is shown is decided here; how it looks is the template's business.  Text from data and models is escaped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rlvr_api import RLVRJob
from rlvr_api.recipe import resolve
from rlvr_trainer.one_machine.report import charts
from rlvr_trainer.one_machine.report.closeup import NOTHING, CloseUp
from rlvr_trainer.one_machine.report.figures import figures
from rlvr_trainer.one_machine.report.history import Record
from rlvr_trainer.one_machine.report.microscope import LEVELS
from rlvr_trainer.one_machine.words import duration, figure
from rlvr_trainer.samples import Evaluation, Fate, Transcript

MAX_ANSWERS: Final = 12
_FATES: Final = {
    Fate.TRAINED.value: "trained",
    Fate.FLAT.value: "dropped: all completions right, or all wrong",
    Fate.ERROR.value: "dropped: a verdict is an error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What the page says above everything else."""

    ending: str
    """complete, failed or stopped."""
    reason: str
    finished_at: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """One held-out question and its answers before and after training."""

    question: str
    expected: str | None
    before: Transcript
    after: Transcript


def render_page(job: RLVRJob, record: Record, heading: Heading, closeup: CloseUp = NOTHING) -> str:
    """The whole page."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    first, last = ends(record.evaluations)
    pairs = answer_pairs(first, last)
    return environment.get_template("report.html.j2").render(
        job=job,
        heading=heading,
        finished=time.strftime("%Y-%m-%d %H:%M", time.localtime(heading.finished_at)),
        tiles=tuple(tiles(job, record)),
        figures=tuple(figures(record)),
        geometry=charts,
        closeup=closeup,
        levels=LEVELS,
        excerpt=excerpt,
        evaluations=record.evaluations,
        first=first,
        last=last,
        answers=pairs[:MAX_ANSWERS],
        num_answers=len(pairs),
        fates=tuple((text, record.groups.get(fate, 0)) for fate, text in _FATES.items()),
        recipe=tuple(recipe_rows(job)),
        manifest=yaml.safe_dump(
            job.model_dump(mode="json", by_alias=True, exclude_unset=True), sort_keys=False, allow_unicode=True
        ),
    )


def ends(evaluations: Sequence[Evaluation]) -> tuple[Evaluation | None, Evaluation | None]:
    """The evaluation of the base model and the newest of any other policy."""
    first = next((found for found in evaluations if found.step == 0), None)
    last = max((found for found in evaluations if found.step > 0), key=lambda found: found.step, default=None)
    return first, last


def answer_pairs(first: Evaluation | None, last: Evaluation | None) -> tuple[Answers, ...]:
    """Answers to the same questions, in the order of the first evaluation; none unless there are two."""
    if first is None or last is None:
        return ()
    later = {transcript.question: transcript for transcript in last.transcripts}
    return tuple(
        Answers(question=before.question, expected=before.expected, before=before, after=later[before.question])
        for before in first.transcripts
        if before.question in later
    )


def tiles(job: RLVRJob, record: Record) -> Iterator[tuple[str, str, str]]:
    """Headline numbers: name, value, remark."""
    first, last = ends(record.evaluations)
    if first is not None and last is not None:
        gain = last.accuracy - first.accuracy
        change = f"{gain:+.3f} on {last.num_completions} held-out completions"
        yield "Held-out accuracy", f"{figure(first.accuracy)} → {figure(last.accuracy)}", change
    elif first is not None:
        yield "Held-out accuracy", figure(first.accuracy), "of the base model"
    yield "Steps", f"{record.step}", f"of {job.spec.training.steps}"
    yield "Tokens", f"{record.tokens:,}", "completion tokens sampled for training"
    if record.wall_seconds > 0:
        yield "Throughput", f"{record.tokens / record.wall_seconds:,.0f}", "completion tokens per second"
        yield "Training time", duration(record.wall_seconds), "in committed steps"


def recipe_rows(job: RLVRJob) -> Iterator[tuple[str, str, str]]:
    """Every number of the resolved algorithm: path, value, source."""
    recipe = resolve(job.spec.algorithm)
    document: dict[str, Any] = recipe.model_dump(mode="json", by_alias=True, exclude={"sources"})
    for path, source in sorted(recipe.sources.items()):
        yield path, json.dumps(_at(document, path)).strip('"'), source


def excerpt(text: str, *, length: int = 600) -> str:
    """`text`, cut to a readable length."""
    return text if len(text) <= length else f"{text[:length]}… ({len(text) - length} more characters)"


def _at(document: Mapping[str, Any], path: str) -> Any:
    return reduce(lambda branch, key: branch[key], path.split("."), document)
