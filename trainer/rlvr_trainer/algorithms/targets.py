"""Which length counts as short: Laser-D's targets by difficulty (2505.15612 section 5.2), searched on monitor answers.

Plain Python: the coordinator searches, and has no torch.  A target is what the *monitor* says; a training batch whose
longest completion is shorter caps it (`lengths.targets_of`), so pass the completion limit as `longest` where targets
outlive a batch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

Difficulty = Literal["hard", "medium", "easy"]
Rounding = Literal["ceil", "floor"]
Targets = Mapping[Difficulty, int]
"""Target tokens by difficulty, as they travel to the learner."""

DIFFICULTIES: Final[tuple[Difficulty, ...]] = ("hard", "medium", "easy")


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorRecord:
    """What was sampled for one monitor prompt."""

    num_correct: int
    """Correct and well formed."""
    lengths: tuple[int, ...]
    """Tokens of every completion, right or wrong."""


def difficulty(num_correct: int, num_completions: int, *, boundary_is_easier: bool = True) -> Difficulty:
    """Easy from 2/3 of a group correct, medium from 1/3, in whole numbers.

    The paper and the released reward put exactly 1/3 and 2/3 into the easier bucket, the released monitor into the
    harder one (`boundary_is_easier=False`); a group of 8 never meets them.
    """
    thirds = 3 * num_correct if boundary_is_easier else 3 * num_correct - 1
    if thirds >= 2 * num_completions:
        return "easy"
    return "medium" if thirds >= num_completions else "hard"


def buckets(
    records: Sequence[MonitorRecord], *, boundary_is_easier: bool = True
) -> dict[Difficulty, tuple[MonitorRecord, ...]]:
    """Monitor prompts by difficulty; a bucket may be empty.  A prompt without completions has no difficulty."""
    found: dict[Difficulty, list[MonitorRecord]] = {name: [] for name in DIFFICULTIES}
    for record in records:
        if record.lengths:
            name = difficulty(record.num_correct, len(record.lengths), boundary_is_easier=boundary_is_easier)
            found[name].append(record)
    return {name: tuple(members) for name, members in found.items()}


def target_lengths(
    records: Sequence[MonitorRecord],
    *,
    grid: Sequence[int],
    longest: int,
    group_size: int,
    rounding: Rounding = "ceil",
) -> dict[Difficulty, int]:
    """The target of every difficulty; `group_size` completions were asked for per monitor prompt.

    `longest` is the longest completion that a target could ever separate: of the training batch, or the limit.
    """
    return {
        name: target_length(
            lengths_of(members),
            grid,
            required=required_correct(name, group_size=group_size, rounding=rounding),
            longest=longest,
        )
        for name, members in buckets(records).items()
    }


def lengths_of(records: Sequence[MonitorRecord]) -> tuple[int, ...]:
    """Lengths of all completions of some prompts."""
    return tuple(length for record in records for length in record.lengths)


def coverage(lengths: Sequence[int], grid: Sequence[int]) -> tuple[float, ...]:
    """Share of completions, right or wrong, no longer than each candidate; 0 without completions."""
    return tuple(within / max(len(lengths), 1) for within in _num_within(lengths, grid))


def required_correct(bucket: Difficulty, *, group_size: int, rounding: Rounding) -> int:
    """|C|: the fewest correct completions of a group in this bucket (Laser-D eq. 3).

    The released code rounds down, to 0 in the medium bucket of a group of 2: then no length is enough.
    """
    if bucket == "hard":
        return 1
    thirds = 2 * group_size if bucket == "easy" else group_size
    return -(-thirds // 3) if rounding == "ceil" else thirds // 3


def target_length(lengths: Sequence[int], grid: Sequence[int], *, required: int, longest: int) -> int:
    """Smallest candidate below `longest` within which at least one correct completion is expected (Laser-D eq. 3).

    Expected are coverage * required.  `longest` where no candidate is enough, or nothing was sampled.
    """
    total = len(lengths)
    enough = [
        candidate
        for candidate, within in zip(grid, _num_within(lengths, grid), strict=True)
        if within * required >= total > 0 and candidate < longest
    ]
    return min(enough, default=longest)


def length_grid(lowest: int, highest: int, *, step: int) -> tuple[int, ...]:
    """Candidate target lengths (Laser-D): from `lowest` by `step`; a lowest below the step precedes a grid of steps."""
    if lowest < step:
        return (lowest, *range(step, highest + 1, step))
    return tuple(range(lowest, highest + 1, step))


def _num_within(lengths: Sequence[int], grid: Sequence[int]) -> list[int]:
    ascending = sorted(lengths)
    return [bisect_right(ascending, candidate) for candidate in grid]
