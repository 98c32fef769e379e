"""What the learner leaves for the coordinator in the attempt's folder, read as it appears.

    resume.json           once: where this attempt begins
    policy.json           the newest policy, replaced whenever there is a newer one
    reports/000018.json   what a step found; there before its policy is
    checkpoint.json       the newest checkpoint and trouble with the next one

Files appear whole (renamed into place), so a file that is there is complete.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from rlvr_api import CheckpointProgress
from rlvr_trainer.samples import CoordinatorState, StepReport
from rlvr_trainer.wire import from_json

T = TypeVar("T")
_POLL_SECONDS: Final = 0.01


class Resume(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where an attempt begins."""

    step: int
    """Finished steps."""
    state: CoordinatorState


class Policy(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A policy that rollouts can fetch."""

    step: int
    label: str


class LearnerFolder:
    """One attempt's folder, from the coordinator's side."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def resume(self) -> Resume:
        """Where this attempt begins, as soon as the learner knows."""
        return await _appears(self._folder / "resume.json", Resume)

    async def policy(self, *, after: int = -1) -> Policy:
        """The newest policy, as soon as there is one of more than `after` finished steps."""
        return await _appears(self._folder / "policy.json", Policy, is_wanted=lambda policy: policy.step > after)

    async def policies(self, *, until: int) -> AsyncIterator[Policy]:
        """The newest policy whenever there is a newer one, up to and including that of step `until`."""
        newest = await self.policy()
        yield newest
        while newest.step < until:
            newest = await self.policy(after=newest.step)
            yield newest

    def report(self, step: int) -> StepReport | None:
        """What the learner found in a step; None when there is no such report in this attempt."""
        return _read(self._folder / "reports" / f"{step:06d}.json", StepReport)

    def checkpoint(self) -> CheckpointProgress:
        """What is known of checkpoints now."""
        path = self._folder / "checkpoint.json"
        return CheckpointProgress.model_validate_json(path.read_bytes()) if path.exists() else CheckpointProgress()


async def _appears(path: Path, kind: type[T], *, is_wanted: Callable[[T], bool] = lambda _: True) -> T:
    while (found := _read(path, kind)) is None or not is_wanted(found):  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(_POLL_SECONDS)
    return found


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        return from_json(path.read_bytes(), kind)
    except FileNotFoundError:
        return None
