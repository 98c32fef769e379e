"""A finished step in the words of others: its report for the run's history, its numbers for Prometheus.

The time between two reports is told by phase; publish and checkpoint are those of the step before, for a report is
written before its policy is published.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from rlvr_trainer.learner.certainty import forks_of
from rlvr_trainer.learner.findings import metrics_of_process
from rlvr_trainer.learner.step import Stage
from rlvr_trainer.learner.stopwatch import Stopwatch
from rlvr_trainer.metrics import Board, labelled
from rlvr_trainer.samples import Fate, StepFacts, StepReport, Tokens

logger = logging.getLogger(__name__)
_NOT_LEARNING = ("wait", "publish", "checkpoint")


def report_of(
    facts: StepFacts, metrics: Mapping[str, float], stage: Stage, *, tokens_N: Tokens, watch: Stopwatch
) -> StepReport:
    """All that the history keeps of a step."""
    learning = sum(seconds for phase, seconds in watch.seconds.items() if phase not in _NOT_LEARNING)
    return StepReport(
        step=facts.step,
        metrics={
            **metrics,
            **metrics_of_process(num_tokens=len(tokens_N), seconds=learning),
            **{labelled("rlvr_learner_step_seconds", phase=phase): s for phase, s in watch.seconds.items()},
        },
        trained=merged(one.group.prompt.position for one in facts.groups),
        dropped=dropped_spans(facts),
        length_targets=facts.state.length_targets,
        forks=forks_of(stage, tokens_N),
        finished_at=time.time(),
    )


def show(board: Board, report: StepReport, watch: Stopwatch, *, num_tokens: int) -> None:
    """Put a finished step on the board."""
    board.renew(report.metrics)
    board.add("rlvr_learner_tokens_total", num_tokens)
    logger.info("step %d: %s", report.step, ", ".join(f"{phase} {s:.3f} s" for phase, s in watch.seconds.items()))


def merged(positions: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Positions as ascending [start, end) spans."""
    spans: list[tuple[int, int]] = []
    for position in sorted(positions):
        start = spans.pop()[0] if spans and spans[-1][1] == position else position
        spans.append((start, position + 1))
    return tuple(spans)


def dropped_spans(facts: StepFacts) -> tuple[tuple[int, int, Fate], ...]:
    """Positions dropped on the way to a step as ascending [start, end) spans with their fate."""
    return tuple(
        sorted(
            (start, end, fate)
            for fate in Fate
            for start, end in merged(one.position for one in facts.dropped if one.fate is fate)
        )
    )
