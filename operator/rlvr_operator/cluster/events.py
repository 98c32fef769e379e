"""Kubernetes Events about jobs: one object per distinct event, counted when it repeats.

The name of the object follows from what it says, so a restarted operator goes on counting.  The same event is written
at most once a minute; repetitions in between are counted with the next one.  Losing an event is not an error.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rlvr_api import contract
from rlvr_operator.cluster.client import Client
from rlvr_operator.cluster.requests import MANAGER
from rlvr_operator.cluster.resources import EVENTS, Raw
from rlvr_operator.errors import Missing
from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import Event

_HOLD_SECONDS: Final = 60.0
_MOST_REMEMBERED: Final = 5000
_LONGEST_MESSAGE: Final = 1024


@dataclass(frozen=True, slots=True)
class _Told:
    """How often an event was written, and how often it came since."""

    at: float
    count: int
    held: int = 0


class Recorder:
    """Writes events."""

    def __init__(self, client: Client, *, instance: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._instance = instance
        self._clock = clock
        self._told: OrderedDict[str, _Told] = OrderedDict()

    async def tell(self, job: JobSeen, event: Event) -> None:
        """Write the event, or count it."""
        name = name_of(job, event)
        told = self._told.get(name)
        if told is not None and self._clock() - told.at < _HOLD_SECONDS:
            self._told[name] = _Told(told.at, told.count, told.held + 1)
            return
        count = await self._write(job, event, name, told)
        self._told[name] = _Told(self._clock(), count)
        self._told.move_to_end(name)
        if len(self._told) > _MOST_REMEMBERED:
            self._told.popitem(last=False)

    async def _write(self, job: JobSeen, event: Event, name: str, told: _Told | None) -> int:
        """How often it has been told now; one that an earlier process wrote is counted on."""
        count = 1 if told is None else told.count + told.held + 1
        if told is None or not await self._repeat(job, name, count):
            manifest = manifest_of(job, event, name=name, instance=self._instance)
            if await self._client.create(manifest | {"count": count}) is None:
                known = await self._client.get(EVENTS, name, namespace=job.namespace)
                count += int(known.get("count", 1))
                await self._repeat(job, name, count)
        return count

    async def _repeat(self, job: JobSeen, name: str, count: int) -> bool:
        """False when the server has forgotten the event, as it does after an hour."""
        body = {"count": count, "lastTimestamp": _now()}
        try:
            await self._client.patch(EVENTS, name, namespace=job.namespace, body=body)
        except Missing:
            return False
        return True


def name_of(job: JobSeen, event: Event) -> str:
    """The same for the same event about the same job."""
    said = f"{job.uid}\n{event.type}\n{event.reason}\n{event.message}"
    return f"{job.name}.{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def manifest_of(job: JobSeen, event: Event, *, name: str, instance: str) -> Raw:
    now = _now()
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": name, "namespace": job.namespace},
        "involvedObject": {
            "apiVersion": contract.API_VERSION,
            "kind": contract.KIND,
            "namespace": job.namespace,
            "name": job.name,
            "uid": job.uid,
        },
        "type": event.type,
        "reason": event.reason,
        "message": event.message[:_LONGEST_MESSAGE],
        "source": {"component": MANAGER},
        "reportingComponent": MANAGER,
        "reportingInstance": instance,
        "firstTimestamp": now,
        "lastTimestamp": now,
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
