"""Follow the lengths of the policy on monitor prompts, for a length reward whose targets depend on them.

Laser-D and Laser-DE (2505.15612 section 5.2): the monitor prompts are drawn from the training data and stay the same;
they are answered with the sampling of training, before the first step and every so many steps.  The search for targets
is `algorithms/targets.py`.  A completion that could not be judged has no part in it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from rlvr_trainer.algorithms.targets import DIFFICULTIES, MonitorRecord, Rounding, buckets, target_lengths
from rlvr_trainer.coordinator.exam import Exam
from rlvr_trainer.samples import Monitoring, ScoredGroup

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Among which lengths a target is searched, and which one is short enough."""

    grid: tuple[int, ...]
    """Candidate targets, ascending."""
    longest: int
    """Limit of a completion: the target where no candidate will do."""
    group_size: int
    """Completions per monitor prompt."""
    rounding: Rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """The monitor prompts, and what is searched in their answers."""

    exam: Exam
    search: Search


def is_due(step: int, *, every: int, last_step: int, measured: int | None) -> bool:
    """Whether the policy of `step` finished steps is to be measured; `measured` is the step of the newest measurement.

    Never after the last step, when nobody needs targets any more.  With staleness a policy can be skipped; the next
    one is then measured in its place.
    """
    if step >= last_step:
        return False
    return measured is None or step // every > measured // every


def measure(answers: Sequence[ScoredGroup], *, search: Search, step: int) -> Monitoring:
    """The targets that follow from the answers; the limit of a completion where nothing says otherwise."""
    records = [record_of(answer) for answer in answers]
    lengths = [length for record in records for length in record.lengths]
    num_errors = sum(len(answer.verdicts) for answer in answers) - len(lengths)
    if not lengths:
        log.warning("the monitor prompts at step %d set no targets: all %d verdicts are errors", step, num_errors)
    members = buckets(records)
    targets = target_lengths(
        records,
        grid=search.grid,
        longest=search.longest,
        group_size=search.group_size,
        rounding=search.rounding,
    )
    return Monitoring(
        step=step,
        length_targets={name: targets[name] for name in DIFFICULTIES},
        num_prompts={name: len(members[name]) for name in DIFFICULTIES},
        accuracy=sum(record.num_correct for record in records) / len(lengths) if lengths else None,
        mean_tokens=sum(lengths) / len(lengths) if lengths else None,
        num_errors=num_errors,
    )


def record_of(answer: ScoredGroup) -> MonitorRecord:
    """What the search needs to know of one prompt."""
    judged = [
        (verdict, len(completion.token_ids))
        for verdict, completion in zip(answer.verdicts, answer.group.completions, strict=True)
        if verdict.score is not None
    ]
    return MonitorRecord(
        num_correct=sum(verdict.is_correct for verdict, _ in judged), lengths=tuple(length for _, length in judged)
    )
