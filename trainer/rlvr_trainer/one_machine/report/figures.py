"""Which curves a report shows, and from which metrics.  Pure.

A curve whose metric no step has, or that says nothing (mostly: is zero throughout), is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from rlvr_trainer.metrics import labelled, parse_key
from rlvr_trainer.one_machine.report.bars import column_chart, stacked_chart
from rlvr_trainer.one_machine.report.charts import Chart, Point, line_chart
from rlvr_trainer.one_machine.report.history import Record
from rlvr_trainer.samples import StepReport

_INTERRUPTION: Final = 10.0
"""A step that took so many times the median was interrupted, and is left out of the time chart."""
_PHASES: Final = 5
"""Phases with a color of their own; the small ones share another."""

_PHASE_WORDS: Final = {"wait": "waiting for samples", "look": "first look", "build": "building the batch"}


@dataclass(frozen=True, slots=True)
class Lines:
    """One figure: its title, its unit, and metrics by their name in the legend."""

    title: str
    unit: str
    curves: Mapping[str, str]
    usual: float = 0.0
    """A curve that never leaves this value is left out."""


def _by(metric: str, label: str, *values: str, prefix: str = "") -> dict[str, str]:
    """A curve for each value of a label."""
    return {f"{prefix}{value}": labelled(metric, **{label: value}) for value in values}


def _both(metric: str, label: str, **names: str) -> dict[str, str]:
    """A curve for each value of a label, under another name."""
    return {name.replace("_", " "): labelled(metric, **{label: value}) for name, value in names.items()}


_DIFFICULTIES: Final = ("easy", "medium", "hard")
_LEARNING: Final = (
    Lines("Reward", "mean of the step's completions", {"reward": "reward_mean"}),
    Lines("Completion length", "tokens", {"mean": "completion_tokens_mean", "longest": "completion_tokens_max"}),
    Lines(
        "Length by correctness",
        "mean tokens",
        _both("completion_tokens_by_outcome_mean", "correct", right="yes", wrong="no"),
    ),
    Lines(
        "Unreadable answers",
        "share of completions",
        {"cut off by the limit": "truncated_ratio", "malformed": "malformed_ratio"},
    ),
    Lines("Policy loss", "as minimised", {"loss": "loss"}),
    Lines("Gradient norm", "before clipping", {"norm": "gradient_norm"}),
    Lines("Staleness", "steps behind the newest policy, at most", {"staleness": "staleness_steps_max"}),
)
_TOKENS: Final = (
    Lines(
        "Entropy", "nats per token", {"mean": "entropy_nats", **_by("entropy_by_class_nats", "class", "high", "low")}
    ),
    Lines("Entropy quantiles", "nats", _by("entropy_quantile_nats", "quantile", "0.5", "0.8", "0.9", "0.95", "1")),
    Lines(
        "Tokens that are trained",
        "share; of single completions: smallest, largest",
        {"all": "selected_tokens_ratio", **_by("selected_by_completion_ratio", "statistic", "min", "max")},
        usual=1.0,
    ),
    Lines("Tokens of high entropy", "share of completion tokens", {"high": "high_entropy_tokens_ratio"}),
    Lines(
        "Threshold of high entropy",
        "nats",
        {
            "of the step": "entropy_threshold_nats",
            **_by("entropy_class_threshold_nats", "statistic", "min", "mean", "max", prefix="of completions, "),
        },
    ),
    Lines("Uncertain where the base model is", "share of its uncertain fifth", {"overlap": "entropy_overlap_ratio"}),
    Lines(
        "Stopped by the trust region",
        "share of trained tokens",
        {**_by("clipped_by_bound_ratio", "bound", "lower", "upper"), "dual": "dual_clipped_ratio"},
    ),
    Lines(
        "Stopped, by class",
        "share of the class's trained tokens",
        {
            f"{name}, {bound}": labelled("clipped_by_class_ratio", **{"class": name, "bound": bound})
            for name in ("high", "low")
            for bound in ("lower", "upper", "dual")
        },
    ),
    Lines(
        "KL divergence (k3)",
        "nats per token",
        {
            "sampler to learner": "mismatch_kl_nats",
            "to the base model": "kl_reference_nats",
            **_by("kl_reference_by_class_nats", "class", "high", "low", prefix="to the base model, "),
        },
    ),
    Lines("Repetition", "share of 20-grams seen before", {"repetition": "repetition_ratio"}),
)
_GROUPS: Final = (
    Lines("Groups solved", "share of judged groups", _by("groups_solved_ratio", "solved", "none", "some", "all")),
    Lines("Weight of groups", "MGPO, mean", {"weight": "mgpo_weight_mean"}),
    Lines("Difficulty of trained groups", "share", _by("groups_by_difficulty_ratio", "difficulty", *_DIFFICULTIES)),
    Lines("Accuracy by difficulty", "share correct", _by("accuracy_by_difficulty_ratio", "difficulty", *_DIFFICULTIES)),
    Lines(
        "Length by difficulty", "mean tokens", _by("completion_tokens_by_difficulty_mean", "difficulty", *_DIFFICULTIES)
    ),
    Lines("Target lengths", "tokens", _by("length_target_tokens", "difficulty", *_DIFFICULTIES)),
    Lines(
        "Within the target length",
        "share of completions",
        _both("within_target_ratio", "correct", right="yes", wrong="no"),
    ),
)

LINES: Final = (*_LEARNING, *_TOKENS, *_GROUPS)
"""All that are drawn as curves."""


def figures(record: Record) -> Iterator[tuple[str, tuple[Chart, ...]]]:
    """Every section that has something to show, with its charts."""
    sections = {
        "Learning": (
            _accuracy(record),
            _pass_at(record),
            *_charts(record.reports, _LEARNING),
            _time(record.reports),
        ),
        "Tokens": _charts(record.reports, _TOKENS),
        "Groups": (_solved_histogram(record.reports), *_charts(record.reports, _GROUPS)),
    }
    for name, charts in sections.items():
        present = tuple(chart for chart in charts if chart is not None)
        if present:
            yield name, present


def time_split(reports: Sequence[StepReport]) -> dict[str, list[Point]]:
    """Seconds of each step by phase, the long phases first; small ones are put together."""
    seconds = {report.step: _phases(report) for report in reports}
    seconds = {step: phases for step, phases in seconds.items() if phases}
    usual = _INTERRUPTION * median(sum(phases.values()) for phases in seconds.values()) if seconds else 0.0
    kept = {step: phases for step, phases in seconds.items() if sum(phases.values()) <= usual}
    totals: Counter[str] = Counter()
    for phases in kept.values():
        totals.update(phases)
    longest = [name for name, _ in totals.most_common(_PHASES)]
    split = {name: [(float(step), phases.get(name, 0.0)) for step, phases in kept.items()] for name in longest}
    if len(totals) > len(longest):
        split["other"] = [
            (float(step), sum(s for name, s in phases.items() if name not in longest)) for step, phases in kept.items()
        ]
    return split


def solved_shares(reports: Sequence[StepReport]) -> dict[int, float]:
    """Share of judged groups by their number of correct completions, over all of `reports`."""
    counts: Counter[int] = Counter()
    for report in reports:
        for key, value in report.metrics.items():
            name, labels = parse_key(key)
            if name == "rlvr_learner_groups_by_correct":
                counts[int(labels["correct"])] += int(value)
    total = sum(counts.values())
    return {correct: counts[correct] / total for correct in sorted(counts)} if total else {}


def _accuracy(record: Record) -> Chart | None:
    return line_chart(
        "Accuracy",
        unit="share correct",
        series={"training": _series(record.reports, "accuracy_ratio")},
        marks={"held-out": [(float(found.step), found.accuracy) for found in record.evaluations]},
    )


def _pass_at(record: Record) -> Chart | None:
    """Absent where held-out prompts have one completion each."""
    ks = sorted({k for found in record.evaluations for k in found.pass_at})
    marks = {
        f"pass@{k}": [(float(found.step), found.pass_at[k]) for found in record.evaluations if k in found.pass_at]
        for k in ks
    }
    return line_chart("Held-out pass@k", unit="chance that one of k is correct", series={}, marks=marks)


def _charts(reports: Sequence[StepReport], wanted: Sequence[Lines]) -> tuple[Chart | None, ...]:
    return tuple(_chart(reports, lines) for lines in wanted)


def _chart(reports: Sequence[StepReport], lines: Lines) -> Chart | None:
    found = {name: _series(reports, metric) for name, metric in lines.curves.items()}
    telling = {name: points for name, points in found.items() if any(y != lines.usual for _, y in points)}
    return line_chart(
        lines.title,
        unit=lines.unit,
        series={name: telling.get(name, []) if len(points) > 1 else [] for name, points in found.items()},
        marks={name: points for name, points in telling.items() if len(points) == 1},
    )


def _time(reports: Sequence[StepReport]) -> Chart | None:
    return stacked_chart("Time per step", unit="seconds, by phase", series=time_split(reports))


def _solved_histogram(reports: Sequence[StepReport]) -> Chart | None:
    """The first quarter of the steps beside the last."""
    quarter = max(1, len(reports) // 4)
    return column_chart(
        "Right answers in a group",
        unit="share of judged groups",
        x_name="right",
        series={"first quarter": solved_shares(reports[:quarter]), "last quarter": solved_shares(reports[-quarter:])},
    )


def _phases(report: StepReport) -> dict[str, float]:
    keys = ((parse_key(key), value) for key, value in report.metrics.items())
    return {
        _PHASE_WORDS.get(labels["phase"], labels["phase"]): value
        for (name, labels), value in keys
        if name == "rlvr_learner_step_seconds"
    }


def _series(reports: Sequence[StepReport], metric: str) -> list[Point]:
    name = f"rlvr_learner_{metric}"
    return [(float(report.step), report.metrics[name]) for report in reports if name in report.metrics]
