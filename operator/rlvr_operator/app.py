"""All of kopf: it starts and stops the process, logs in, and rings when an RLVRJob changes.

No index, timer, daemon or field handler, no finalizer, no Kubernetes events: kopf writes nothing.  The one event
handler stores the body and rings; everything else is level-triggered elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol

import kopf

from rlvr_api import contract
from rlvr_operator.cluster.client import Access, credentials
from rlvr_operator.cluster.resources import Raw
from rlvr_operator.settings import Settings

_FIRST_PAUSES: Final = (0.5, 1.0, 2.0)


class Process(Protocol):
    """What kopf starts, stops and rings."""

    @property
    def jobs(self) -> Jobs: ...

    async def run(self) -> None: ...


class Jobs(Protocol):
    """Where bodies go."""

    def put(self, raw: Raw) -> None: ...
    def remove(self, raw: Raw) -> None: ...


class Forgetful(kopf.DiffBaseStorage):  # type: ignore[misc]  # kopf is not followed by the type checker
    """Keeps no former state: kopf would copy each body at each event to find changes that no handler asks for."""

    def build(self, **_: object) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: object) -> None:
        return None

    def store(self, **_: object) -> None:
        return None


class Patience:
    """Pauses between attempts to reach the API server, without end: kopf would give up after the last and exit."""

    def __init__(self, ceiling: float) -> None:
        self._ceiling = ceiling

    def __iter__(self) -> Iterator[float]:
        yield from (pause for pause in _FIRST_PAUSES if pause < self._ceiling)
        while True:
            yield self._ceiling


async def serve(process: Process, access: Access, settings: Settings) -> None:
    """Run kopf with `process` beside it until a signal; raises what ended `process` early."""
    stop = asyncio.Event()
    registry, running = kopf.OperatorRegistry(), Running(process, stop)
    kopf.on.startup(registry=registry)(running.start)
    kopf.on.cleanup(registry=registry)(running.stop)
    kopf.on.login(registry=registry)(_login(access))
    kopf.on.event(contract.GROUP, contract.VERSION, contract.PLURAL, registry=registry)(_doorbell(process))
    await kopf.operator(
        registry=registry,
        settings=_kopf_settings(settings),
        standalone=True,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        stop_flag=stop,
    )
    running.raise_early_end()


class Running:
    """The process beside kopf, from start to stop."""

    def __init__(self, process: Process, stop: asyncio.Event) -> None:
        self._process = process
        self._stop = stop
        self._task: asyncio.Task[None] | None = None
        self._is_stopping = False

    async def start(self, **_: object) -> None:
        self._task = asyncio.create_task(self._process.run())
        self._task.add_done_callback(lambda _: self._stop.set())

    async def stop(self, **_: object) -> None:
        """Before kopf cancels what is left, so that the Lease is released."""
        self._is_stopping = True
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def raise_early_end(self) -> None:
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()


def _doorbell(process: Process) -> Callable[..., Any]:
    async def job_changed(event: dict[str, Any], **_: object) -> None:
        if event["type"] == "DELETED":
            process.jobs.remove(event["object"])
        else:
            process.jobs.put(event["object"])

    return job_changed


def _login(access: Access) -> Callable[..., Any]:
    async def login(**_: object) -> kopf.ConnectionInfo:
        known = await credentials(access)
        return kopf.ConnectionInfo(
            server=known.server,
            ca_path=known.ca_file,
            insecure=known.is_insecure,
            scheme=known.scheme,
            token=known.token,
            certificate_path=known.certificate_file,
            private_key_path=known.key_file,
        )

    return login


def _kopf_settings(settings: Settings) -> kopf.OperatorSettings:
    kopfs = kopf.OperatorSettings()
    kopfs.posting.enabled = False
    kopfs.scanning.disabled = True
    kopfs.persistence.diffbase_storage = Forgetful()
    kopfs.networking.connect_timeout = settings.connect_timeout
    kopfs.networking.request_timeout = settings.request_timeout
    kopfs.networking.error_backoffs = Patience(settings.retry_ceiling)
    kopfs.watching.connect_timeout = settings.connect_timeout
    kopfs.watching.server_timeout = round(settings.watch_seconds)
    kopfs.watching.inactivity_timeout = settings.watch_seconds + settings.request_timeout
    kopfs.watching.chunk_size = 500
    kopfs.process.ultimate_exiting_timeout = settings.shutdown
    return kopfs
