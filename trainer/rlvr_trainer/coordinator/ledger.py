"""Every prompt once: which positions of the stream are used up, and how many by fate.

Pure.  A position is used up once and for ever; a second time is an error, not an update.  What is kept does not grow
with the positions used up, only with how far out of order they are: at most what was in flight at once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count

from rlvr_trainer.errors import TrainerError
from rlvr_trainer.samples import Fate, Ledger


def record(ledger: Ledger, fates: Mapping[int, Fate]) -> Ledger:
    """The ledger with these positions used up as well."""
    for position in sorted(fates):
        if is_consumed(ledger, position):
            raise TrainerError(
                f"position {position} would be {fates[position]} although it is used up already; every prompt counts "
                "once. This is a fault of the coordinator: keep the run's folder and report it."
            )
    known = {*ledger.beyond, *fates}
    watermark = next(position for position in count(ledger.watermark) if position not in known)
    added = Counter(fates.values())
    return Ledger(
        watermark=watermark,
        beyond=tuple(sorted(position for position in known if position > watermark)),
        counts={fate: number for fate in Fate if (number := ledger.counts.get(fate, 0) + added[fate])},
    )


def is_consumed(ledger: Ledger, position: int) -> bool:
    place = bisect_left(ledger.beyond, position)
    return position < ledger.watermark or ledger.beyond[place : place + 1] == (position,)


def next_positions(ledger: Ledger) -> Iterator[int]:
    """Every unused position, smallest first, without end."""
    beyond = frozenset(ledger.beyond)
    return (position for position in count(ledger.watermark) if position not in beyond)


def num_positions(ledger: Ledger, fate: Fate) -> int:
    return ledger.counts.get(fate, 0)
