"""How the learner is asked to stop: SIGTERM or SIGINT, heard at the next step boundary."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType


class StopRequested(Exception):
    """Raised where the learner can stop: between steps, while it waits."""


class Stop:
    """Whether somebody asked."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def request(self) -> None:
        self._asked.set()

    @property
    def is_asked(self) -> bool:
        return self._asked.is_set()


def stop_on_signals(stop: Stop, also: Callable[[], None]) -> None:
    """From now on SIGTERM and SIGINT request a stop and call `also`; only the main thread may call this."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.request()
        also()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
