"""What a display shows at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from rlvr_api import Progress
from rlvr_trainer.one_machine.state import Member


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A run at one moment."""

    job: str
    total_steps: int
    elapsed: float
    """Seconds since `rlvr run` began."""
    unix_time: float
    attempt: int
    members: Mapping[str, Member]
    progress: Progress | None
    """What the coordinator last said; None before it did."""


class Screen(Protocol):
    """A display of a run."""

    def show(self, view: View) -> None:
        """The run as it is now; called several times a second."""

    def say(self, text: str, *, elapsed: float) -> None:
        """Something happened."""
