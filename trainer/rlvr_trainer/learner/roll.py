"""Who still answers when a collective has timed out: the ranks that gave up sign a roll, the others are named.

A process that is stopped, or waits for something else than its peers, signs nothing.  Rank 0 keeps the roll; where that
one is silent nothing is known of the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final, Protocol

ANSWER_SECONDS: Final = 5.0
"""From the first rank's time-out to the last one's: all began to wait at about the same time."""
_POLL_SECONDS: Final = 0.1


class Store(Protocol):
    """What is used of torch's TCPStore.  Calls may never return where rank 0 is stopped."""

    def set(self, key: str, value: str) -> None: ...

    def check(self, keys: list[str]) -> bool: ...


def absent(store: Store, *, rank: int, size: int, seconds: float = ANSWER_SECONDS) -> tuple[int, ...]:
    """Sign, and name the ranks that do not sign within so many seconds."""
    signed: set[int] = set()
    # A daemon: the process ends whether or not rank 0 ever answers.
    caller = threading.Thread(target=_call, args=(store, rank, size, signed), name="roll", daemon=True)
    caller.start()
    caller.join(timeout=seconds)
    return tuple(one for one in range(size) if one not in signed) if 0 in signed else (0,)


def naming(ranks: Sequence[int], hosts: Sequence[str]) -> str:
    """`rank 1 on node a, rank 3 on node b`."""
    return ", ".join(f"rank {rank} on node {hosts[rank]}" for rank in ranks)


def _call(store: Store, rank: int, size: int, signed: set[int]) -> None:
    try:
        store.set(_line(rank), "")
        while len(signed) < size:
            signed |= {one for one in range(size) if one not in signed and store.check([_line(one)])}
            time.sleep(_POLL_SECONDS)
    except RuntimeError:  # torch's word for a store whose process is gone
        signed.clear()


def _line(rank: int) -> str:
    return f"roll/{rank}"
