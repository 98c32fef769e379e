"""One line per event on standard error, and no flood: a framework's line that repeats is held back for a minute.

Lines are alike when logger and wording are, whatever numbers are in them; the next one through says how many were held.
Our own lines are never held: where something can repeat, the code that logs it decides.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Final

HOLD_SECONDS: Final = 60.0
_MOST_REMEMBERED: Final = 1000
_VARIES: Final = re.compile(r"\d+|0x[0-9a-f]+|<[^>]*>")


class NoFlood(logging.Filter):
    """Lets the first of many like lines through."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._held: dict[tuple[str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("rlvr_operator"):
            return True
        key, now = (record.name, _VARIES.sub("#", record.getMessage())), self._clock()
        since, held = self._held.get(key, (-HOLD_SECONDS, 0))
        if now - since < HOLD_SECONDS:
            self._held[key] = (since, held + 1)
            return False
        if held:
            record.msg, record.args = f"{record.getMessage()} (and {held} like it before)", None
        if len(self._held) >= _MOST_REMEMBERED:
            self._held.clear()
        self._held[key] = (now, 0)
        return True


def start_logging(level: str) -> None:
    """Send the root logger to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S"))
    handler.addFilter(NoFlood())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
