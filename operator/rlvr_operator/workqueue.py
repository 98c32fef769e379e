"""Keys to look at: each waits once at most, one worker has it at a time, failures are tried again later and later.

A key that comes again soon after it was looked at waits until `settle` seconds have passed: a burst is one look.
For one event loop; nothing here is thread-safe.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
FIRST_RETRY_SECONDS: Final = 0.5
LAST_RETRY_SECONDS: Final = 300.0


def retry_delay(failures: int) -> float:
    """0.5 s doubling to 5 min, for 1 failure and more."""
    return min(FIRST_RETRY_SECONDS * 2.0 ** min(failures - 1, 20), LAST_RETRY_SECONDS)


class WorkQueue(Generic[K]):
    """Workers take keys with `get` and give each back with `done`."""

    def __init__(
        self,
        *,
        settle: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),
    ) -> None:
        self._settle = settle
        self._clock = clock
        self._jitter = jitter
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._rung: dict[K, float] = {}
        self._working: set[K] = set()
        self._looked_at: dict[K, float] = {}
        self._failures: dict[K, int] = {}
        self._pushes = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """Keys that could be looked at now."""
        now = self._clock()
        return sum(1 for due in self._due.values() if due <= now)

    def add(self, key: K) -> None:
        """Something about the key has changed."""
        now = self._clock()
        self._rung.setdefault(key, now)
        self._schedule(key, max(now, self._looked_at.get(key, -self._settle) + self._settle))

    def add_after(self, key: K, seconds: float) -> None:
        """Time alone could change the answer; an earlier appointment stands."""
        self._schedule(key, self._clock() + seconds)

    def retry(self, key: K, *, ceiling: float = LAST_RETRY_SECONDS) -> None:
        """Looking at the key went wrong; no later than `ceiling` seconds, give or take, it is tried again."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        self._schedule(key, self._clock() + min(retry_delay(failures), ceiling) * self._jitter())

    def succeed(self, key: K) -> None:
        """The next failure is the first."""
        self._failures.pop(key, None)

    def forget(self, key: K) -> None:
        """The key will not come back; who works on it need not give it back."""
        self._working.discard(key)
        for known in (self._due, self._rung, self._failures, self._looked_at):
            known.pop(key, None)

    async def get(self) -> tuple[K, float | None]:
        """The next key, which is the caller's until `done`, and how long ago it was first rung for, if it was."""
        while True:
            self._changed.clear()
            key = self._next()
            if key is not None:
                self._working.add(key)
                rung_at = self._rung.pop(key, None)
                return key, None if rung_at is None else self._clock() - rung_at
            await self._wait()

    def done(self, key: K) -> None:
        """Give a key back; when it was rung for meanwhile, it comes again after `settle` seconds."""
        if key not in self._working:
            return
        now = self._clock()
        self._working.discard(key)
        self._looked_at[key] = now
        due = self._due.pop(key, None)
        if key in self._rung:
            due = now + self._settle
        if due is not None:
            self._schedule(key, due)

    def _schedule(self, key: K, due: float) -> None:
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        self._pushes += 1
        heapq.heappush(self._heap, (due, self._pushes, key))
        self._changed.set()

    def _next(self) -> K | None:
        """The first key that is due and in nobody's hands; entries that an earlier appointment replaced are dropped."""
        while self._heap and self._heap[0][0] <= self._clock():
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due and key not in self._working:
                del self._due[key]
                return key
        return None

    async def _wait(self) -> None:
        pause = self._heap[0][0] - self._clock() if self._heap else None
        try:
            async with asyncio.timeout(pause):
                await self._changed.wait()
        except TimeoutError:
            return
