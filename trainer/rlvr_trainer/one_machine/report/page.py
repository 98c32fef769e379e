"""A run's record becomes one HTML page without any reference to the network.

What is shown is decided here; how it looks is the template's business.  Text from data and models is escaped.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from rlvr_api import RLVRJob
from rlvr_api.recipe import resolve
from rlvr_trainer.one_machine.report import charts
from rlvr_trainer.one_machine.report.charts import Chart, Point, line_chart, stacked_chart
from rlvr_trainer.one_machine.report.history import Record
from rlvr_trainer.one_machine.words import duration, figure
from rlvr_trainer.samples import Evaluation, Fate, StepReport, Transcript

MAX_ANSWERS: Final = 12
_INTERRUPTION: Final = 10.0
"""A step that took so many times the median was interrupted, and is left out of the time chart."""
_FATES: Final = {
    Fate.TRAINED.value: "trained",
    Fate.FLAT.value: "dropped: all completions right, or all wrong",
    Fate.ERROR.value: "dropped: a verdict is an error",
}
_LINES: Final[tuple[tuple[str, str, dict[str, str]], ...]] = (
    ("Reward", "mean of the step's completions", {"reward": "reward_mean"}),
    ("Completion length", "tokens", {"mean": "completion_tokens_mean", "longest": "completion_tokens_max"}),
    ("Entropy", "nats per token", {"entropy": "entropy_nats"}),
    ("Cut off by the token limit", "share of completions", {"truncated": "truncated_ratio"}),
    ("Policy loss", "as minimised", {"loss": "loss"}),
    ("Stopped by the trust region", "share of tokens", {"clip": "clipped_ratio", "dual clip": "dual_clipped_ratio"}),
    (
        "KL divergence",
        "nats per token",
        {"sampler to learner": "mismatch_kl_nats", "to the base model": "kl_reference_nats"},
    ),
    ("Gradient norm", "before clipping", {"norm": "gradient_norm"}),
    ("Staleness", "steps behind the newest policy, at most", {"staleness": "staleness_steps_max"}),
)
"""Title, unit, and metrics by their name in the legend."""


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


def render_page(job: RLVRJob, record: Record, heading: Heading) -> str:
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
        figures=tuple(figures(job, record)),
        geometry=charts,
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


def figures(job: RLVRJob, record: Record) -> Iterator[Chart]:
    """Every chart that has something to show."""
    yield from _present(
        line_chart(
            "Accuracy",
            unit="share correct",
            series={"training": _series(record.reports, "accuracy_ratio")},
            marks={"held-out": [(float(found.step), found.accuracy) for found in record.evaluations]},
        )
    )
    for title, unit, metrics in _LINES:
        series = {name: _series(record.reports, metric) for name, metric in metrics.items()}
        if any(y != 0 for points in series.values() for _, y in points):
            yield from _present(line_chart(title, unit=unit, series=series))
    split = time_split(record.reports, group_size=job.spec.training.group_size)
    yield from _present(stacked_chart("Time per step", unit="seconds", series=split))


def time_split(reports: Sequence[StepReport], *, group_size: int) -> dict[str, list[Point]]:
    """Seconds of each step but the first: in the learner, and everything else.

    The learner's share is its tokens over its speed; the total is the time between two reports.
    """
    learner: dict[int, float] = {}
    total: dict[int, float] = {}
    for before, after in pairwise(reports):
        speed = after.metrics.get("rlvr_learner_train_tokens_per_second")
        length = after.metrics.get("rlvr_learner_completion_tokens_mean")
        if speed and length and after.step == before.step + 1:
            num_completions = group_size * sum(end - start for start, end in after.trained)
            learner[after.step] = num_completions * length / speed
            total[after.step] = after.finished_at - before.finished_at
    usual = _INTERRUPTION * median(total.values()) if total else 0.0
    steps = [step for step in total if total[step] <= usual]
    return {
        "learner": [(float(step), min(learner[step], total[step])) for step in steps],
        "sampling, judging, policy update": [(float(step), max(0.0, total[step] - learner[step])) for step in steps],
    }


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


def _series(reports: Sequence[StepReport], metric: str) -> list[Point]:
    name = f"rlvr_learner_{metric}"
    return [(float(report.step), report.metrics[name]) for report in reports if name in report.metrics]


def _present(chart: Chart | None) -> Iterator[Chart]:
    if chart is not None:
        yield chart
