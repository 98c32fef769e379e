"""Ask rollouts for groups, and keep every replica on the newest policy.

One keeper per replica looks at it every second: it moves a replica that holds another policy (a late joiner too) and
brings a lost one back once /status answers.  A group whose replica fails is asked for again, elsewhere or later, under
the same seed.  Nothing is given up here: replacing replicas is the work of whoever started them.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from rlvr_trainer.coordinator.generation import Decode, GroupReply, Sampling, read_group, read_status, request_body
from rlvr_trainer.coordinator.replicas import Replica, State, count_by_state, delay_before_look, least_loaded
from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.samples import Group, Prompt
from rlvr_trainer.transport import Client

log = logging.getLogger(__name__)
_REFUSALS: Final = 3
"""A group refused this often with words, not by silence, cannot be generated anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How patient the coordinator is with rollouts, in seconds."""

    look: float = 1.0
    """Between two looks at a replica."""
    look_again: float = 0.2
    """The same while it is lost; doubles when moving it to the policy fails again and again."""
    look_again_ceiling: float = 5.0
    silence: float = 10.0
    """Without an answer to /status before a replica is lost and its groups are asked for elsewhere."""
    update: float = 900.0
    """For one replica to fetch and load a policy."""
    generate: float = 3600.0
    """For one group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What each replica can take, and where it finds policies."""

    max_in_flight: int
    """Completions that one replica is given at a time."""
    policies_url: str
    pace: Pace = Pace()


class Rollouts:
    """All replicas of an attempt and the policy they should speak."""

    def __init__(self, client: Client, board: Board, *, place: Place, label: str, decode: Decode) -> None:
        self._client = client
        self._board = board
        self._place = place
        self._decode = decode
        self._labels = [label]
        self._table: dict[str, Replica] = {}
        self._nudges: dict[str, asyncio.Event] = {}
        self._deadlines: dict[str, set[asyncio.Timeout]] = {}
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._request_numbers = itertools.count()

    @property
    def num_ready(self) -> int:
        return count_by_state(self._table.values(), wanted=self._labels[-1])[State.READY]

    def move_to(self, label: str) -> None:
        """Make `label` the wanted policy; keepers see to it, and new groups wait for a replica that has it."""
        if label != self._labels[-1]:
            self._labels.append(label)
            self._publish_states()
            for nudge in self._nudges.values():
                nudge.set()

    async def sample(self, prompt: Prompt, *, sampling: Sampling, seed: int) -> Group:
        """A group for `prompt`, however often it takes; TrainerError only when replicas refuse it with a reason."""
        refusals = 0
        while True:
            async with self._place_at_a_replica(sampling.num_completions) as url:
                first_allowed = len(self._labels) - 1
                try:
                    reply = await self._ask(url, self._body(prompt, sampling=sampling, seed=seed))
                    allowed = self._labels[first_allowed:]
                    return read_group(reply, prompt=prompt, sampling=sampling, allowed=allowed, decode=self._decode)
                except TrainerError as error:
                    refusals += not isinstance(error, Unavailable)
                    if refusals == _REFUSALS:
                        raise
                    self._lose(url, error)
            self._board.add("rlvr_coordinator_regenerated_groups_total")

    async def keep(self, url: str) -> NoReturn:
        """Look after one replica for ever; nothing is asked of a replica that nobody keeps."""
        self._table[url] = Replica(url=url)
        self._nudges[url], self._deadlines[url] = asyncio.Event(), set()
        while True:
            try:
                await self._look_at(url)
            except TrainerError as error:
                self._lose(url, error)
            await self._rest(url)

    def _body(self, prompt: Prompt, *, sampling: Sampling, seed: int) -> dict[str, Any]:
        request_id = f"{prompt.position}-{next(self._request_numbers)}"
        return request_body(
            prompt.token_ids, sampling=sampling, seed=seed, label=self._labels[-1], request_id=request_id
        )

    @contextlib.asynccontextmanager
    async def _place_at_a_replica(self, num_completions: int) -> AsyncIterator[str]:
        """The least loaded replica on the wanted policy; first come, first served."""
        async with self._turn:
            while (replica := self._choose()) is None:
                self._changed.clear()
                await self._changed.wait()
            self._table[replica.url] = replica.given(num_completions)
        try:
            yield replica.url
        finally:
            self._table[replica.url] = self._table[replica.url].relieved_of(num_completions)
            self._changed.set()

    def _choose(self) -> Replica | None:
        return least_loaded(self._table.values(), wanted=self._labels[-1], max_in_flight=self._place.max_in_flight)

    async def _ask(self, url: str, body: dict[str, Any]) -> GroupReply:
        """One request, cut short when the replica's keeper finds it gone."""
        began, patience = time.monotonic(), self._place.pace.generate
        try:
            async with asyncio.timeout(patience) as deadline:
                self._deadlines[url].add(deadline)
                try:
                    generate = f"{url}/inference/v1/generate"
                    reply = await self._client.ask(generate, body, timeout=patience, kind=GroupReply)
                finally:
                    self._deadlines[url].discard(deadline)
        except TimeoutError as error:
            raise Unavailable(f"{url} is gone, or took longer than {patience:.0f} s for one group") from error
        self._board.observe("rlvr_coordinator_generate_seconds", time.monotonic() - began)
        return reply

    async def _look_at(self, url: str) -> None:
        try:
            reply = await self._client.get(f"{url}/status", deadline=self._place.pace.silence)
        except Unavailable:
            self._abandon(url)
            raise
        status = read_status(reply)
        self._saw(url, label=status.version, is_ready=status.state == "ready")
        if self._table[url].state is not State.READY:
            await self._update(url)

    def _abandon(self, url: str) -> None:
        """Cut its requests short: nobody will answer them."""
        for deadline in self._deadlines[url]:
            deadline.reschedule(0)
        self._deadlines[url].clear()

    async def _update(self, url: str) -> None:
        label, began = self._labels[-1], time.monotonic()
        body = {"label": label, "url": f"{self._place.policies_url}/{label}"}
        await self._client.once("POST", f"{url}/policy", body, timeout=self._place.pace.update)
        self._board.observe("rlvr_coordinator_policy_update_seconds", time.monotonic() - began)
        self._saw(url, label=label, is_ready=True)

    async def _rest(self, url: str) -> None:
        """Until something happens to the replica, or it is time to look again."""
        nudge = self._nudges[url]
        if self._table[url].state is State.READY:
            # Not wait_for: in Python 3.11 it swallows a cancellation that comes together with the nudge.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._place.pace.look):
                    await nudge.wait()
        nudge.clear()
        if self._table[url].state is not State.READY:
            pace = self._place.pace
            delay = delay_before_look(self._table[url], first=pace.look_again, ceiling=pace.look_again_ceiling)
            await asyncio.sleep(delay)

    def _saw(self, url: str, *, label: str | None, is_ready: bool) -> None:
        self._table[url] = self._table[url].answered(label, wanted=self._labels[-1], is_ready=is_ready)
        self._publish_states()

    def _lose(self, url: str, error: TrainerError) -> None:
        before, self._table[url] = self._table[url], self._table[url].lost()
        if before.state is not State.LOST:
            log.warning("rollout %s is lost: %s", url, error)
            self._publish_states()
        self._nudges[url].set()

    def _publish_states(self) -> None:
        self._changed.set()
        for state, number in count_by_state(self._table.values(), wanted=self._labels[-1]).items():
            self._board.set("rlvr_coordinator_rollouts", number, state=state.value)
