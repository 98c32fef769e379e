"""Several rollouts, a coordinator's wish for a policy, and a transport that carries nothing."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from torch import Tensor

from engine_fakes import PATIENT, TOKEN, Caller, Door, FakePolicies, a_door, served_policies


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


@dataclass(frozen=True)
class World:
    """Agents before fake engines, all of one job, and the folders of its policies."""

    callers: list[Caller]
    policies: FakePolicies
    lives: list[contextlib.AsyncExitStack]

    @property
    def urls(self) -> tuple[str, ...]:
        return tuple(caller.door.url for caller in self.callers)

    def door(self, number: int) -> Door:
        return self.callers[number].door

    async def end(self, number: int) -> None:
        """Rollout `number` is no more."""
        await self.lives[number].aclose()

    async def want(self, label: str) -> list[int]:
        """As the coordinator, ask every rollout to move to `label`; what each answers in the end."""
        return [status for status, _ in await asyncio.gather(*(caller.send(label) for caller in self.callers))]

    async def versions(self) -> list[str | None]:
        return [(await caller.status())[1] for caller in self.callers]


@contextlib.asynccontextmanager
async def a_world(folder: Path, *, number: int) -> AsyncIterator[World]:
    """So many rollouts, without a policy."""
    async with contextlib.AsyncExitStack() as stack:
        policies = await stack.enter_async_context(served_policies(folder / "published"))
        session = await stack.enter_async_context(aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}))
        lives = [await stack.enter_async_context(contextlib.AsyncExitStack()) for _ in range(number)]
        doors = [
            await life.enter_async_context(a_door(folder / f"p{index}", patience=PATIENT))
            for index, life in enumerate(lives)
        ]
        yield World([Caller(session, door, policies) for door in doors], policies, lives)
