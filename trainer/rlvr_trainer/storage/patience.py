"""Try again until it works, with growing pauses, telling somebody each time.

Never gives up by itself: `on_error` raises to stop.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from rlvr_trainer.errors import TrainerError, Unavailable

T = TypeVar("T")

FIRST_SECONDS: Final = 0.5
CEILING_SECONDS: Final = 30.0


def retry_delay(failures: int) -> float:
    """Seconds to wait after so many failures in a row (1, 2, ...): 0.5, 1, 2, ... 30."""
    return float(min(FIRST_SECONDS * 2 ** min(failures - 1, 10), CEILING_SECONDS))


def persist(
    work: Callable[[], T],
    *,
    on_error: Callable[[TrainerError], None],
    retry_on: tuple[type[TrainerError], ...] = (Unavailable,),
    pause: Callable[[float], None] = time.sleep,
) -> T:
    """The result of `work`, repeated while it raises one of `retry_on`."""
    failures = 0
    while True:
        try:
            return work()
        except retry_on as error:
            failures += 1
            on_error(error)
        pause(retry_delay(failures))
