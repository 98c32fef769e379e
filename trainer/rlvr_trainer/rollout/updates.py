"""Move the engine from one policy to the next without dropping a request.

    fetch -> pause(keep) -> new weights, named -> probe asked -> resume -> name and probe answered -> answer again

Weights come from the policy's folder or, where the engine is in a circle with the learner, by a broadcast; after a
broadcast that fails the folder is still there.  One update at a time; the next waits.  Whatever fails, the engine is
resumed; once weights may have changed, everything in flight is cut off rather than answered under a label nobody can
vouch for.  Answers that are finished before name and probe have agreed wait for them.  An engine whose
log-probabilities are not the policy's is given up (`Mistrust`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import aiohttp

from rlvr_trainer.errors import InvalidInput, TrainerError, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.rollout.broadcasts import Broadcast, Joining, Meeting
from rlvr_trainer.rollout.engine import EngineControl
from rlvr_trainer.rollout.fetch import fetch_policy
from rlvr_trainer.rollout.standing import Standing
from rlvr_trainer.storage.policies import prune, step_of
from rlvr_trainer.storage.signatures import Signature, difference, read_signature

log = logging.getLogger(__name__)
_KEPT: Final = 2
"""Policies on this node's disk: the one in use and the one before."""
_HEAD_START: Final = 0.01
"""Seconds for a probe to be in the paused engine's queue before everything else goes on: later it would wait until
one of the completions ends, and all answers with it."""


Put = Callable[[], Awaitable[None]]
"""Gives the paused engine its new weights and their name."""


class Mistrust(TrainerError):
    """The engine says it holds a policy, and its log-probabilities say otherwise."""


class Answers(Protocol):
    """Who passes answers of the engine on."""

    def hold(self) -> None:
        """Keep answers back."""

    def release(self) -> None:
        """Let them go."""

    def cut_off(self) -> None:
        """End every request in flight with 503."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What moving to a policy took, in seconds."""

    fetch: float
    pause: float
    probe: float


class Updates:
    """Owns the standing of one engine."""

    def __init__(
        self,
        engine: EngineControl,
        coordinator: aiohttp.ClientSession,
        board: Board,
        *,
        policies: Path,
        answers: Answers,
    ) -> None:
        self.standing = Standing()
        self.given_up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets the reason why this engine cannot serve."""
        self._engine = engine
        self._coordinator = coordinator
        self._board = board
        self._policies = policies
        self._answers = answers
        self.meeting = Meeting()
        self._turn = asyncio.Lock()
        self._has_plugin = False

    async def move_to(self, label: str, *, url: str) -> Update:
        """Install policy `label` from `url`; nothing is done when it is there already."""
        async with self._turn:
            await self._look()
            if self.standing.version == label:
                return Update(fetch=0.0, pause=0.0, probe=0.0)
            self.standing = replace(self.standing, is_updating=True)
            try:
                return await self._update(label, url)
            except TrainerError as error:
                self._board.add("rlvr_rollout_policy_errors_total")
                if isinstance(error, Mistrust | InvalidInput) and not self.given_up.done():
                    self.given_up.set_exception(error)
                raise
            finally:
                self.standing = replace(self.standing, is_updating=False)

    async def join(self, joining: Joining) -> None:
        """Bring the engine into a circle with the learner; Unavailable while its policy is unknown."""
        async with self._turn:
            await self._look()
            if self.standing.version is None:
                raise Unavailable(f"the engine is {self.standing.state}: it takes a policy from its folder first.")
            self.standing = replace(self.standing, joined=None)
            await self._engine.join(joining.init_info, seconds=joining.seconds)
            self.standing = replace(self.standing, joined=joining.circle)

    async def world_size(self) -> int:
        """Processes of the engine that would join."""
        return await self._engine.world_size()

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
        if self.standing.version is None:  # what answers next may be another engine, which never joined
            self.standing = replace(self.standing, joined=None)
        if known is not None and self.standing.version is None:
            log.warning("the engine holds %s instead of %s: waiting for a policy", seen or "nothing known", known)
            self._answers.cut_off()

    async def _update(self, label: str, url: str) -> Update:
        if self.standing.circle is not None and (broadcast := await self._broadcast_of(label)) is not None:
            return await self._receive(broadcast)
        began = time.monotonic()
        if self.standing.version is None:  # a new engine, perhaps another one than before
            await self._engine.check()
            self._has_plugin = await self._engine.has_directory_transfer()
        folder = await fetch_policy(self._coordinator, label=label, url=url, policies=self._policies)
        fetch = time.monotonic() - began
        put = partial(self._engine.transfer if self._has_plugin else self._engine.reload, folder, label=label)
        update = replace(await self._install(label, put, read_signature(folder)), fetch=fetch)
        self._tell(label, update, how="plug-in" if self._has_plugin else "reload_weights")
        await asyncio.to_thread(prune, self._policies, keep=_KEPT, protected={label})
        return update

    async def _broadcast_of(self, label: str) -> Broadcast | None:
        """The learner's call; a learner that says nothing is gone, and its circle is left."""
        try:
            broadcast = await self.meeting.wait(label, seconds=self._engine.patience.broadcast)
        except TimeoutError:
            log.info("no word of a broadcast of policy %s came from circle %s", label, self.standing.circle)
            self.standing = replace(self.standing, joined=None)
            return None
        if broadcast is not None and broadcast.circle != self.standing.circle:
            self.meeting.settle(Unavailable(f"this engine is in circle {self.standing.circle}."))
            return None
        return broadcast

    async def _receive(self, broadcast: Broadcast) -> Update:
        """Take the weights as the learner sends them; after a failure the engine is dirty and in no circle."""
        label = broadcast.label
        put = partial(self._engine.receive, broadcast.update_info, label=label, seconds=broadcast.seconds)
        try:
            update = await self._install(label, put, broadcast.signature)
        except BaseException as error:  # the learner waits for an answer, whatever ended it
            self.meeting.settle(error)
            if isinstance(error, Mistrust):  # the folder has not been tried
                raise TrainerError(f"{error} It came by broadcast; its folder is tried next.") from error
            raise
        self.meeting.settle(None)
        self._tell(label, update, how="broadcast")
        return update

    async def _install(self, label: str, put: Put, signature: Signature | None) -> Update:
        began = time.monotonic()
        self._answers.hold()
        try:
            await self._engine.pause()
            await put()
            resumed = await self._resume_with_probe(label, signature)
        except BaseException:  # a cancelled update too must not leave the engine paused
            self.standing = replace(self.standing, is_dirty=True)
            self._answers.cut_off()
            await self._set_going()
            raise
        finally:
            self._answers.release()
        self.standing = replace(self.standing, installed=label, seen=label, is_dirty=False)
        return Update(fetch=0.0, pause=resumed - began, probe=time.monotonic() - resumed)

    async def _resume_with_probe(self, label: str, signature: Signature | None) -> float:
        """Go on generating, the probe before all else; returns when that began."""
        probing = asyncio.create_task(self._probe(label, signature))
        try:
            await asyncio.sleep(_HEAD_START)
            await self._engine.resume()
            resumed = time.monotonic()
            _expect_label(label, await self._engine.weight_version())
            await probing
        finally:
            probing.cancel()
        return resumed

    async def _probe(self, label: str, signature: Signature | None) -> None:
        """Mistrust unless the engine agrees with what the learner signed, if it signed anything."""
        if signature is None:
            log.warning("policy %s is not signed: what the engine holds is not checked", label)
            return
        gap = difference(signature, await self._engine.logprobs_of(signature.token_ids, label=label))
        self._board.set("rlvr_rollout_probe_difference_nats", gap)
        log.info("policy %s: engine and learner differ by %.2e nats on fixed tokens", label, gap)
        if gap > signature.tolerance:
            raise Mistrust(
                f"the engine took policy {label}, but its log-probabilities are {gap:.2g} nats from the learner's "
                f"(at most {signature.tolerance:g}): it kept some old weights, or computes in another precision than "
                "model.dtype. With tied embeddings vLLM needs the plug-in safetensors_dir (pip install rlvr-operator "
                "beside it)."
            )

    async def _set_going(self) -> None:
        """After a failure: nothing left in flight, nothing left paused."""
        for attempt in (self._engine.abort_all, self._engine.resume):
            try:
                await attempt()
            except TrainerError as error:
                log.warning("after a failed update: %s", error)

    def _tell(self, label: str, update: Update, *, how: str) -> None:
        self._board.observe("rlvr_rollout_policy_fetch_seconds", update.fetch)
        self._board.observe("rlvr_rollout_pause_seconds", update.pause)
        self._board.set("rlvr_rollout_policy_step", step_of(label))
        log.info(
            "policy %s by %s: fetched in %.2f s, paused for %.3f s, probed in %.3f s",
            *(label, how, update.fetch, update.pause, update.probe),
        )


def _expect_label(label: str, seen: str) -> None:
    if seen != label:
        raise Unavailable(f"the engine says it holds {seen!r} after it was given {label!r}.")
