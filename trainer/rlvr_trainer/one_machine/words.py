"""Numbers and changes of a run, in words.  Pure; both displays and the final summary speak through it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rlvr_api import CheckpointProgress, Progress

UNKNOWN: Final = "-"


def duration(seconds: float) -> str:
    """`42 s`, `3 m 05 s`, `2 h 07 m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} m"


def clock(seconds: float) -> str:
    """Time since the start: `0:42`, `1:02:03`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def figure(value: float | None, digits: int = 3) -> str:
    """A number with so many digits behind the point; `-` for an unknown one."""
    return UNKNOWN if value is None else f"{value:,.{digits}f}"


def step_line(progress: Progress) -> str:
    """One finished step, on one line."""
    words = [
        f"step {progress.step}/{progress.total_steps}",
        f"reward {figure(progress.reward)}",
        f"accuracy {figure(progress.accuracy)}",
        f"length {figure(progress.completion_tokens_mean, 1)}",
        f"entropy {figure(progress.entropy)}",
        f"{figure(progress.tokens_per_second, 0)} tokens/s",
        f"policy {progress.policy or UNKNOWN}",
    ]
    if progress.eta_seconds is not None and progress.step < progress.total_steps:
        words.append(f"{duration(progress.eta_seconds)} left")
    return "  ".join(words)


def changes(before: Progress | None, after: Progress, *, known_checkpoint: int | None) -> Iterator[str]:
    """What happened between two looks at a run that deserves a line of its own, given the newest checkpoint so far."""
    known = before.eval_step if before else None
    if after.eval_step is not None and after.eval_step != known:
        yield f"held-out accuracy {figure(after.eval_accuracy)} at step {after.eval_step}"
    newest = after.checkpoint.step
    if newest is not None and (known_checkpoint is None or newest > known_checkpoint):
        yield f"checkpoint of step {newest} is complete"
    yield from _store_changes(before.checkpoint if before else CheckpointProgress(), after.checkpoint)


def checkpoint_line(checkpoint: CheckpointProgress, *, now: float) -> str:
    """The newest checkpoint and trouble with the next, on one line; `now` in Unix seconds."""
    newest = "none yet"
    if checkpoint.step is not None:
        age = f", {duration(max(0.0, now - checkpoint.saved_at))} ago" if checkpoint.saved_at else ""
        newest = f"step {checkpoint.step}{age}"
    trouble = f"; store: {checkpoint.last_error}" if checkpoint.last_error else ""
    return newest + ("; training waits for the store" if checkpoint.is_waiting else "") + trouble


def _store_changes(before: CheckpointProgress, after: CheckpointProgress) -> Iterator[str]:
    if after.last_error and after.last_error != before.last_error:
        yield f"checkpoint store: {after.last_error}"
    if before.last_error and not after.last_error:
        yield "checkpoint store: reachable again"
    if after.is_waiting and not before.is_waiting:
        yield "training is waiting for the checkpoint store"
