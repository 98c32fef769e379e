"""One line per event, the same shape in every role: time, level, role, attempt, message.

Nothing here writes files; a supervisor or the kubelet collects standard error.
"""

from __future__ import annotations

import logging
import sys


def start_logging(role: str, *, attempt: int, level: int = logging.INFO) -> None:
    """Send the root logger to standard error, prefixed with who is speaking."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(f"%(asctime)s %(levelname)s {role} a{attempt} %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
