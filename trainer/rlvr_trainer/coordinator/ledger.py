"""Every prompt once: which positions of the stream are used up, and how.

Pure interval algebra over the frozen Ledger of samples.py.  A position has one fate for ever; a second one is an error,
not an update.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count, pairwise

from rlvr_trainer.errors import TrainerError
from rlvr_trainer.samples import Fate, Interval, Ledger


def record(ledger: Ledger, fates: Mapping[int, Fate]) -> Ledger:
    """The ledger with these positions used up as well."""
    added = [Interval(start=position, end=position + 1, fate=fate) for position, fate in fates.items()]
    ordered = sorted([*ledger.intervals, *added], key=lambda interval: interval.start)
    for before, after in pairwise(ordered):
        if after.start < before.end:
            raise TrainerError(
                f"position {after.start} would be {after.fate} although it is {before.fate} already; every prompt "
                "counts once. This is a fault of the coordinator: keep the run's folder and report it."
            )
    return Ledger(intervals=tuple(_merged(ordered)))


def fate_of(ledger: Ledger, position: int) -> Fate | None:
    """What became of a position; None while it is unused."""
    return next((interval.fate for interval in ledger.intervals if interval.start <= position < interval.end), None)


def is_consumed(ledger: Ledger, position: int) -> bool:
    return fate_of(ledger, position) is not None


def next_positions(ledger: Ledger) -> Iterator[int]:
    """Every unused position, smallest first, without end."""
    position = 0
    for interval in ledger.intervals:
        yield from range(position, interval.start)
        position = interval.end
    yield from count(position)


def num_positions(ledger: Ledger, fate: Fate) -> int:
    return sum(interval.end - interval.start for interval in ledger.intervals if interval.fate is fate)


def _merged(ordered: list[Interval]) -> Iterator[Interval]:
    """Neighbours of one fate become one interval."""
    open_interval: Interval | None = None
    for interval in ordered:
        if open_interval is not None and (open_interval.end, open_interval.fate) == (interval.start, interval.fate):
            open_interval = Interval(start=open_interval.start, end=interval.end, fate=interval.fate)
            continue
        if open_interval is not None:
            yield open_interval
        open_interval = interval
    if open_interval is not None:
        yield open_interval
