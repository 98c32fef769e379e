"""Move the engine from one policy to the next without dropping a request.

fetch -> pause(keep) -> reload_weights -> update_weight_version -> check -> resume.  One update at a time; the next
waits.  Whatever fails, the engine is resumed; once weights may have changed, everything in flight is cut off rather
than answered under a label nobody can vouch for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import aiohttp

from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.rollout.engine import EngineControl
from rlvr_trainer.rollout.fetch import fetch_policy
from rlvr_trainer.rollout.standing import Standing
from rlvr_trainer.storage.policies import prune, step_of

log = logging.getLogger(__name__)
_KEPT: Final = 2
"""Policies on this node's disk: the one in use and the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What moving to a policy took, in seconds."""

    fetch: float
    pause: float


class Updates:
    """Owns the standing of one engine."""

    def __init__(
        self,
        engine: EngineControl,
        coordinator: aiohttp.ClientSession,
        board: Board,
        *,
        policies: Path,
        cut_off: Callable[[], None],
    ) -> None:
        self.standing = Standing()
        self._engine = engine
        self._coordinator = coordinator
        self._board = board
        self._policies = policies
        self._cut_off = cut_off
        self._turn = asyncio.Lock()

    async def move_to(self, label: str, *, url: str) -> Update:
        """Install policy `label` from `url`; nothing is done when it is there already."""
        async with self._turn:
            await self._look()
            if self.standing.version == label:
                return Update(fetch=0.0, pause=0.0)
            self.standing = replace(self.standing, is_updating=True)
            try:
                return await self._update(label, url)
            except TrainerError:
                self._board.add("rlvr_rollout_policy_errors_total")
                raise
            finally:
                self.standing = replace(self.standing, is_updating=False)

    async def look(self) -> None:
        """Ask the engine which version it holds; a silent or replaced engine leaves the standing without one."""
        async with self._turn:
            await self._look()

    async def _look(self) -> None:
        known = self.standing.version
        try:
            seen: str | None = await self._engine.weight_version()
        except TrainerError as error:
            seen = None
            log.log(logging.DEBUG if known is None else logging.WARNING, "the engine does not answer: %s", error)
        self.standing = replace(self.standing, seen=seen)
        if known is not None and self.standing.version is None:
            log.warning("the engine holds %s instead of %s: waiting for a policy", seen or "nothing known", known)
            self._cut_off()

    async def _update(self, label: str, url: str) -> Update:
        began = time.monotonic()
        folder = await fetch_policy(self._coordinator, label=label, url=url, policies=self._policies)
        fetched = time.monotonic()
        await self._install(label, folder)
        update = Update(fetch=fetched - began, pause=time.monotonic() - fetched)
        self._board.observe("rlvr_rollout_policy_fetch_seconds", update.fetch)
        self._board.observe("rlvr_rollout_pause_seconds", update.pause)
        self._board.set("rlvr_rollout_policy_step", step_of(label))
        await asyncio.to_thread(prune, self._policies, keep=_KEPT, protected={label})
        log.info("policy %s: fetched in %.2f s, paused for %.2f s", label, update.fetch, update.pause)
        return update

    async def _install(self, label: str, folder: Path) -> None:
        engine = self._engine
        try:
            await engine.pause()
            await engine.load(folder)
            await engine.label(label)
            _expect_label(label, await engine.weight_version())
            await engine.resume()
        except BaseException:  # a cancelled update too must not leave the engine paused
            self.standing = replace(self.standing, is_dirty=True)
            self._cut_off()
            await self._set_going()
            raise
        self.standing = replace(self.standing, installed=label, seen=label, is_dirty=False)

    async def _set_going(self) -> None:
        """After a failure: nothing left in flight, nothing left paused."""
        for attempt in (self._engine.abort_all, self._engine.resume):
            try:
                await attempt()
            except TrainerError as error:
                log.warning("after a failed update: %s", error)


def _expect_label(label: str, seen: str) -> None:
    if seen != label:
        raise Unavailable(f"the engine says it holds {seen!r} after it was given {label!r}.")
