"""The display where there is no terminal: a line for each step, at most one in two seconds, and one for each event."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from rlvr_trainer.one_machine.view import View
from rlvr_trainer.one_machine.words import clock, step_line

STEP_SECONDS: Final = 2.0
ACTIVITY_SECONDS: Final = 10.0
"""Between two lines about what the job is waiting for, while no step finishes."""


class PlainScreen:
    """Lines of text; `write` gets each without its line end."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._last_line = -inf
        self._last_step_line = -inf
        self._shown_step = 0
        self._shown_activity = ""

    def show(self, view: View) -> None:
        progress = view.progress
        if progress is None:
            return
        if progress.step != self._shown_step and progress.reward is not None:
            if view.elapsed - self._last_step_line >= STEP_SECONDS:
                self._shown_step, self._last_step_line = progress.step, view.elapsed
                self.say(step_line(progress), elapsed=view.elapsed)
        elif progress.activity != self._shown_activity and view.elapsed - self._last_line >= ACTIVITY_SECONDS:
            self._shown_activity = progress.activity
            self.say(progress.activity, elapsed=view.elapsed)

    def say(self, text: str, *, elapsed: float) -> None:
        self._last_line = elapsed
        self._write(f"[{clock(elapsed):>7}] {text}")
