"""What can happen to a run, what can be done about it, and how an exit reads."""

from __future__ import annotations

import enum
import signal
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exited:
    """A process ended; `code` is negative for a signal, as in subprocess."""

    name: str
    code: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """What the coordinator or the checkpoint store last said; None where nothing is known."""

    step: int | None
    checkpoint: int | None


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Ctrl-C, SIGTERM or SIGHUP."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Event = Exited | Progressed | Interrupted | Tick


@dataclass(frozen=True, slots=True)
class Start:
    """Start the process `name`."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask the process `name` to stop (SIGTERM)."""

    name: str


@dataclass(frozen=True, slots=True)
class Kill:
    """End the process group of `name` (SIGKILL)."""

    name: str


@dataclass(frozen=True, slots=True)
class Say:
    """Tell the user."""

    text: str


Action = Start | Stop | Kill | Say


class Ending(enum.Enum):
    """How a run ends."""

    COMPLETE = "complete"
    FAILED = "failed"
    STOPPED = "stopped"


def describe_exit(code: int) -> str:
    """`exited with code 3`, `exited with SIGKILL`."""
    return f"exited with {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
