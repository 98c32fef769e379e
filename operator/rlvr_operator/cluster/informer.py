"""List, then watch, for ever: keeps a cache as the API server says it is.

A watch ends after a while by the server's will and goes on where it ended.  Silence longer than the server's own limit
is a dead connection.  A version that the server has forgotten means a new list, and what is missing from it is gone.
While the server is away: pauses with jitter, one line in the log; nothing is ever inferred from a failed request.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from rlvr_operator.cluster.client import Client
from rlvr_operator.cluster.requests import Scope
from rlvr_operator.cluster.resources import Raw
from rlvr_operator.errors import ApiError, Expired, Unavailable

log = logging.getLogger(__name__)
_FIRST_PAUSE: Final = 0.5
_FAILURES_BEFORE_LIST: Final = 3
"""A watch that cannot be taken up again for another reason than its age."""


class Feed(Protocol):
    """Where an informer puts what it sees."""

    def put(self, raw: Raw) -> None: ...
    def remove(self, raw: Raw) -> None: ...
    def keep_only(self, uids: set[str], *, version: int) -> None: ...


class Reach:
    """Who cannot reach the API server now; says so once, and once when all can again."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failing: set[str] = set()
        self._since = 0.0

    def failed(self, who: str, error: Exception) -> None:
        if not self._failing:
            self._since = self._clock()
            log.warning("The API server cannot be used (%s: %s); trying again until it can.", who, error)
        self._failing.add(who)

    def worked(self, who: str) -> None:
        if who in self._failing:
            self._failing.discard(who)
            if not self._failing:
                log.warning("The API server can be used again after %.1f s.", self._clock() - self._since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Times of an informer, in seconds."""

    watch_seconds: float = 40.0
    retry_ceiling: float = 5.0
    clock: Callable[[], float] = time.monotonic


class Informer:
    """Keeps one cache."""

    def __init__(
        self,
        client: Client,
        scope: Scope,
        feed: Feed,
        *,
        reach: Reach,
        pace: Pace,
    ) -> None:
        self._client = client
        self._scope = scope
        self._feed = feed
        self._reach = reach
        self._pace = pace
        self._version = ""
        self._heard_at = pace.clock()
        self._failures = 0
        self.synced = asyncio.Event()
        """Set when the cache holds a complete list."""
        where = f" in {scope.namespace}" if scope.namespace else ""
        self.name = f"{scope.resource.plural}{where}"

    @property
    def age(self) -> float:
        """Seconds since the server was last heard."""
        return self._pace.clock() - self._heard_at

    async def run(self) -> None:
        """Never returns."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except Expired:
                self._version = ""
            except (ApiError, Unavailable) as error:
                await self._recover(error)

    async def _list(self) -> None:
        uids: set[str] = set()
        version = ""
        async for part in self._client.list(self._scope):
            self._hear()
            for item in part["items"] or ():
                uids.add(item["metadata"]["uid"])
                self._feed.put(item)
            version = part["metadata"]["resourceVersion"]
        self._feed.keep_only(uids, version=int(version))
        self._version = version
        self.synced.set()

    async def _watch(self) -> None:
        seconds = self._pace.watch_seconds * random.uniform(0.8, 1.0)
        async for event in self._client.watch(self._scope, self._version, seconds=seconds):
            self._hear()
            if event["type"] != "CONNECTED":
                self._take(event)

    def _take(self, event: Raw) -> None:
        raw = event["object"]
        self._version = raw["metadata"]["resourceVersion"]
        match event["type"]:
            case "ADDED" | "MODIFIED":
                self._feed.put(raw)
            case "DELETED":
                self._feed.remove(raw)

    def _hear(self) -> None:
        self._heard_at = self._pace.clock()
        self._failures = 0
        self._reach.worked(self.name)

    async def _recover(self, error: Exception) -> None:
        self._failures += 1
        self._reach.failed(self.name, error)
        if self._failures >= _FAILURES_BEFORE_LIST:
            self._version = ""
        pause = min(_FIRST_PAUSE * 2 ** min(self._failures - 1, 10), self._pace.retry_ceiling)
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))
