"""Which replica acts: a Lease of coordination.k8s.io, used as other controllers use it.

Times that matter are read from this process's monotonic clock: a holder stops acting `renew_deadline` after the start
of its last successful renewal, a candidate takes over when it has seen no change for the longer `duration` that the
Lease names.  Every request has a time-out, and leaving releases the Lease.  Not covered: a request that a frozen server
received in time and carries out after it thaws; names and resource versions make that harmless.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from rlvr_operator.cluster.resources import LEASES, Raw, Resource
from rlvr_operator.errors import ApiError, Missing, Unavailable

log = logging.getLogger(__name__)
_RELEASE_SECONDS: Final = 3.0


class LeaseStore(Protocol):
    """The requests that an election makes; a Client of its own, so that a busy pool cannot starve it."""

    async def get(self, resource: Resource, name: str, *, namespace: str = "") -> Raw: ...
    async def create(self, manifest: Raw) -> Raw | None: ...
    async def replace(self, manifest: Raw) -> Raw: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Names and times of an election, in seconds."""

    namespace: str
    name: str
    identity: str
    duration: float = 15.0
    renew_deadline: float = 10.0
    renew_period: float = 2.0


class Election:
    """Takes the Lease when it is free, keeps it, and knows for how long it is certain."""

    def __init__(self, store: LeaseStore, terms: Terms, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._terms = terms
        self._clock = clock
        self._renewed_at: float | None = None
        self._seen_version = ""
        self._seen_at = 0.0
        self.answered_at = clock()
        """When the server last answered, whatever it said."""

    @property
    def seconds_left(self) -> float:
        """For how long this process may act without another renewal; nobody else can be the leader until then."""
        if self._renewed_at is None:
            return 0.0
        return max(0.0, self._renewed_at + self._terms.renew_deadline - self._clock())

    @property
    def is_leader(self) -> bool:
        return self.seconds_left > 0

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Run `lead` whenever this process is the leader and cancel it when that ends; release the Lease at the end."""
        try:
            while True:
                await self._until_taken()
                log.info("%s is the leader now.", self._terms.identity)
                await self._while_held(lead)
                log.warning("%s is no longer the leader.", self._terms.identity)
        finally:
            await self._release()

    async def _until_taken(self) -> None:
        while not await self._try(self._take):
            await self._pause()

    async def _while_held(self, lead: Callable[[], Awaitable[None]]) -> None:
        leading = asyncio.ensure_future(lead())
        try:
            while self.is_leader and not leading.done():
                await asyncio.wait([leading], timeout=min(self._terms.renew_period, self.seconds_left))
                if not leading.done():
                    await self._try(self._renew)
        finally:
            await _cancel(leading)
        if not leading.cancelled():
            leading.result()

    async def _try(self, attempt: Callable[[], Awaitable[bool]]) -> bool:
        """False when it did not work; bounded by what is left of the term, where there is one."""
        bound = self.seconds_left or self._terms.renew_deadline
        try:
            async with asyncio.timeout(bound):
                worked = await attempt()
        except (ApiError, Unavailable, TimeoutError) as error:
            log.debug("Lease %s: %s", self._terms.name, error or "no answer in time")
            if isinstance(error, ApiError):
                self.answered_at = self._clock()
            return False
        self.answered_at = self._clock()
        return worked

    async def _take(self) -> bool:
        asked_at = self._clock()
        lease = await self._read()
        if lease is None:
            created = await self._store.create(self._manifest({}, changes=0, fresh=True))
            self._renewed_at = asked_at if created else None
            return created is not None
        if not self._is_free(lease):
            return False
        await self._store.replace(self._manifest(lease, changes=1, fresh=True))
        self._renewed_at = asked_at
        return True

    async def _renew(self) -> bool:
        asked_at = self._clock()
        lease = await self._read()
        if lease is None or lease["spec"].get("holderIdentity") != self._terms.identity:
            self._renewed_at = None
            return False
        await self._store.replace(self._manifest(lease, changes=0, fresh=False))
        self._renewed_at = asked_at
        return True

    async def _release(self) -> None:
        """Let another process take over at once; asks, because a request to take it may have been cut off."""
        with contextlib.suppress(ApiError, Unavailable, TimeoutError):
            async with asyncio.timeout(_RELEASE_SECONDS):
                lease = await self._read()
                if lease is not None and lease["spec"].get("holderIdentity") == self._terms.identity:
                    lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._store.replace(lease)
                    log.info("%s released the leadership.", self._terms.identity)
        self._renewed_at = None

    def _is_free(self, lease: Raw) -> bool:
        """Released, ours of an earlier life, or not renewed for as long as it says."""
        spec, version = lease["spec"], lease["metadata"]["resourceVersion"]
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, self._clock()
        holder = spec.get("holderIdentity") or ""
        duration = float(spec.get("leaseDurationSeconds") or self._terms.duration)
        return holder in {"", self._terms.identity} or self._clock() - self._seen_at > duration

    async def _read(self) -> Raw | None:
        try:
            return await self._store.get(LEASES, self._terms.name, namespace=self._terms.namespace)
        except Missing:
            return None

    def _manifest(self, lease: Raw, *, changes: int, fresh: bool) -> Raw:
        old = lease.get("spec", {})
        now = _timestamp()
        spec = {
            "holderIdentity": self._terms.identity,
            "leaseDurationSeconds": max(1, round(self._terms.duration)),
            "acquireTime": now if fresh else old.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": int(old.get("leaseTransitions", 0)) + changes,
        }
        metadata = lease.get("metadata", {"name": self._terms.name, "namespace": self._terms.namespace})
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}

    async def _pause(self) -> None:
        await asyncio.sleep(self._terms.renew_period * random.uniform(0.8, 1.2))


async def _cancel(task: asyncio.Future[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait([task])


def _timestamp() -> str:
    """For people only; nothing is decided by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
