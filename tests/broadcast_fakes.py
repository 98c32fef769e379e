"""Rollouts in a thread of their own, a coordinator's wish for a policy, and a transport that carries nothing."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from torch import Tensor

from engine_fakes import IMPATIENT, TOKEN, Caller, Door, FakePolicies, a_door, served_policies

T = TypeVar("T")


@dataclass
class FakeTransport:
    """Remembers what it was asked; fails or blocks where a test says."""

    told: list[str] = field(default_factory=list)
    sent: list[Mapping[str, Tensor]] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    blocking: set[str] = field(default_factory=set)
    released: threading.Event = field(default_factory=threading.Event)
    """Set by whoever abandons, as NCCL ends what is stuck."""

    def rendezvous(self) -> dict[str, Any]:
        self.told.append("rendezvous")
        return {"nccl_unique_id_b64": "aWQ="}

    def join(self, world_size: int) -> None:
        self._do("join", f"join {world_size}")

    def broadcast(self, weights: Mapping[str, Tensor]) -> None:
        self._do("broadcast", "broadcast")
        self.sent.append(weights)

    def abandon(self) -> None:
        self.told.append("abandon")
        self.released.set()

    def _do(self, what: str, words: str) -> None:
        self.told.append(words)
        if what in self.failing:
            raise RuntimeError("NCCL error: unhandled system error")
        if what in self.blocking:
            self.released.wait(30)
            raise RuntimeError("aborted")


@dataclass
class World:
    """Agents before fake engines, all of one job; they live in another thread."""

    loop: asyncio.AbstractEventLoop
    callers: list[Caller]
    policies: FakePolicies

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(caller.door.url for caller in self.callers)

    def door(self, number: int) -> Door:
        return self.callers[number].door

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.begin(work).result(30)

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def want(self, label: str) -> Future[list[int]]:
        """As the coordinator, ask every rollout to move to `label`; gives what each answers in the end."""

        async def ask() -> list[int]:
            return [status for status, _ in await asyncio.gather(*(caller.send(label) for caller in self.callers))]

        return self.begin(ask())

    def versions(self) -> list[str | None]:
        return [self.do(caller.status())[1] for caller in self.callers]


@contextlib.contextmanager
def a_world(folder: Path, *, number: int) -> Iterator[World]:
    """So many rollouts, without a policy."""
    loop, ready, over = asyncio.new_event_loop(), Future[World](), asyncio.Event()

    async def live() -> None:
        async with contextlib.AsyncExitStack() as stack:
            policies = await stack.enter_async_context(served_policies(folder / "published"))
            session = await stack.enter_async_context(
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"})
            )
            doors = [
                await stack.enter_async_context(a_door(folder / f"p{index}", patience=replace(IMPATIENT, broadcast=3)))
                for index in range(number)
            ]
            ready.set_result(World(loop, [Caller(session, door, policies) for door in doors], policies))
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    try:
        yield ready.result(30)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(30)
        loop.close()
