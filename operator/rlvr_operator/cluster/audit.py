"""Trust, but verify: the jobs that kopf delivered, compared with a list of names and versions.

kopf tells of no deletion that happened while its watch was interrupted for long, and its health says nothing about its
watches.  A job that is not in the list is gone; one that stays behind its version for a whole period is fetched, and
makes the process not ready.  Reads only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

from rlvr_operator.cluster.cache import Cache, Key, job_itself
from rlvr_operator.cluster.client import Client
from rlvr_operator.cluster.executor import JobHeld
from rlvr_operator.cluster.informer import Reach
from rlvr_operator.cluster.requests import Scope
from rlvr_operator.cluster.resources import JOBS, Raw
from rlvr_operator.errors import ApiError, Missing, Unavailable

log = logging.getLogger(__name__)
_WHO = "audit of rlvrjobs"


class Audit:
    """Keeps the cache of jobs honest."""

    def __init__(
        self,
        client: Client,
        jobs: Cache[JobHeld],
        *,
        namespaces: Sequence[str],
        reach: Reach,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._namespaces = namespaces or ("",)
        self._reach = reach
        self._clock = clock
        self._behind: set[tuple[Key, int]] = set()
        self._right_at = clock()
        self.synced = asyncio.Event()
        """Set when the cache holds all jobs."""

    @property
    def age(self) -> float:
        """Seconds since the cache was last known to be right."""
        return self._clock() - self._right_at

    async def run(self, period: float) -> None:
        """Never returns."""
        while True:
            try:
                await (self.check() if self.synced.is_set() else self._fill())
                self._reach.worked(_WHO)
                await asyncio.sleep(period)
            except (ApiError, Unavailable) as error:
                self._reach.failed(_WHO, error)
                await asyncio.sleep(min(period, 2.0))

    async def check(self) -> None:
        """Compare once."""
        behind = {
            (key, version)
            for key, version in (await self._listed(names_only=True)).items()
            if self._is_behind(key, version)
        }
        stale = behind & self._behind
        self._behind = behind
        for key, _ in stale:
            await self._fetch(key)
        if stale:
            log.warning(
                "kopf's watch is behind: %d job(s), %s among them, were fetched.", len(stale), min(stale)[0].name
            )
        else:
            self._right_at = self._clock()

    async def _fill(self) -> None:
        await self._listed(names_only=False)
        self._right_at = self._clock()
        self.synced.set()

    async def _listed(self, *, names_only: bool) -> dict[Key, int]:
        """Version of each job; what is not there is dropped from the cache, what is whole is put into it."""
        versions: dict[Key, int] = {}
        uids: set[str] = set()
        newest = 0
        for namespace in self._namespaces:
            async for part in self._client.list(Scope(resource=JOBS, namespace=namespace, names_only=names_only)):
                newest = int(part["metadata"]["resourceVersion"])
                for item in part["items"] or ():
                    uids.add(item["metadata"]["uid"])
                    versions[job_itself(item)] = int(item["metadata"]["resourceVersion"])
                    self._take(item, names_only=names_only)
        self._jobs.keep_only(uids, version=newest)
        return versions

    def _take(self, item: Raw, *, names_only: bool) -> None:
        if not names_only:
            self._jobs.put(item)

    def _is_behind(self, key: Key, version: int) -> bool:
        entry = self._jobs.find(key, key.name)
        return entry is None or entry.version < version

    async def _fetch(self, key: Key) -> None:
        try:
            self._jobs.put(await self._client.get(JOBS, key.name, namespace=key.namespace))
        except Missing:
            return
