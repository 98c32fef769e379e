"""The display on a terminal: progress bar, numbers with their recent course, processes, checkpoint.

Events scroll by above it and stay.  `render` is a pure function of a View and of what was seen before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rlvr_api import Progress
from rlvr_trainer.one_machine.state import Life, Member
from rlvr_trainer.one_machine.view import View
from rlvr_trainer.one_machine.words import UNKNOWN, checkpoint_line, clock, duration, figure

_COURSE: Final = 24
"""Steps in a sparkline."""
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_MARKS: Final = {
    Life.WAITING: ("◌", "yellow"),
    Life.RUNNING: ("●", "green"),
    Life.STOPPING: ("●", "yellow"),
    Life.FINISHED: ("✔", "green"),
    Life.LOST: ("✘", "red"),
}

Course = Mapping[str, tuple[float, ...]]
"""The newest values by name, oldest first."""


@contextmanager
def open_live(console: Console) -> Iterator[LiveScreen]:
    """A live display for as long as the block runs; the last picture stays."""
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        yield LiveScreen(live)


class LiveScreen:
    """Draws a View over the previous one."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._course: dict[str, tuple[float, ...]] = {}
        self._step = 0

    def show(self, view: View) -> None:
        if view.progress is not None and view.progress.step != self._step:
            self._step = view.progress.step
            self._course = extended(self._course, view.progress)
        self._live.update(render(view, self._course), refresh=True)

    def say(self, text: str, *, elapsed: float) -> None:
        self._live.console.print(f"[dim]{clock(elapsed):>7}[/] {escape(text)}", highlight=False)


def render(view: View, course: Course) -> RenderableType:
    """The whole display."""
    progress = view.progress
    parts = [_bar(view), _numbers(progress, course), Text(), _processes(view.members), _checkpoint(view)]
    title = f"[bold]{escape(view.job)}[/]"
    subtitle = f"{clock(view.elapsed)}  attempt {view.attempt}  Ctrl-C saves and stops"
    return Panel(
        Group(*parts), title=title, title_align="left", subtitle=subtitle, subtitle_align="right", padding=(1, 2)
    )


def extended(course: Course, progress: Progress) -> dict[str, tuple[float, ...]]:
    """`course` with the newest step's values at its end."""
    newest = {name: value for name, value, _ in _figures(progress)}
    return {
        name: (*course.get(name, ()), *(() if value is None else (value,)))[-_COURSE:] for name, value in newest.items()
    }


def sparkline(values: Sequence[float]) -> str:
    """One block a value, from the smallest (low) to the largest (high)."""
    if not values:
        return ""
    low, span = min(values), (max(values) - min(values)) or 1.0
    return "".join(_BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))] for value in values)


def _figures(progress: Progress) -> tuple[tuple[str, float | None, int], ...]:
    """Name, value and digits of each number in the table."""
    return (
        ("reward", progress.reward, 3),
        ("accuracy", progress.accuracy, 3),
        ("length (tokens)", progress.completion_tokens_mean, 1),
        ("entropy (nats)", progress.entropy, 3),
        ("tokens/s", progress.tokens_per_second, 0),
    )


def _bar(view: View) -> RenderableType:
    progress = view.progress
    step = progress.step if progress else 0
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(no_wrap=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True, justify="right")
    eta = progress.eta_seconds if progress else None
    left = f"{duration(eta)} left" if eta is not None and step < view.total_steps else ""
    bar = ProgressBar(total=view.total_steps, completed=step, complete_style="cyan", finished_style="green")
    activity = progress.activity if progress else "starting: waiting to hear from the coordinator"
    grid.add_row(f"[bold]step {step}/{view.total_steps}[/]", bar, left)
    grid.add_row("", Text(activity, style="dim"), "")
    return grid


def _numbers(progress: Progress | None, course: Course) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(justify="right")
    grid.add_column(style="cyan", no_wrap=True)
    if progress is None:
        return grid
    for name, value, digits in _figures(progress):
        grid.add_row(name, figure(value, digits), sparkline(course.get(name, ())))
    at = "" if progress.eval_step is None else f"at step {progress.eval_step}"
    grid.add_row("held-out accuracy", figure(progress.eval_accuracy), Text(at, style="dim"))
    grid.add_row("policy", progress.policy or UNKNOWN, "")
    return grid


def _processes(members: Mapping[str, Member]) -> Text:
    line = Text()
    for name, member in members.items():
        mark, style = _MARKS[member.life]
        replaced = f" (lost {len(member.exits)}x)" if member.exits else ""
        line.append(mark, style=style).append(f" {name}{replaced}   ")
    return line


def _checkpoint(view: View) -> Text:
    line = Text("checkpoint  ", style="dim")
    if view.progress is None:
        return line.append(UNKNOWN)
    trouble = bool(view.progress.checkpoint.last_error)
    return line.append(
        checkpoint_line(view.progress.checkpoint, now=view.unix_time), style="yellow" if trouble else "default"
    )
