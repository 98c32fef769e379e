"""Everything that runs beside kopf, put together: informers, audit, election, workers, probes.

Every replica keeps its caches warm; only the one that holds the Lease has workers.  When the Lease is lost the workers
are cancelled before another replica could take over.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from rlvr_api import contract
from rlvr_operator.cluster.audit import Audit
from rlvr_operator.cluster.cache import Cache, Key, job_itself
from rlvr_operator.cluster.client import Access, Client
from rlvr_operator.cluster.events import Recorder
from rlvr_operator.cluster.executor import Caches, Executor, JobHeld
from rlvr_operator.cluster.informer import Feed, Informer, Pace, Reach
from rlvr_operator.cluster.lease import Election, Terms
from rlvr_operator.cluster.nodes import Nodes
from rlvr_operator.cluster.requests import Scope
from rlvr_operator.cluster.resources import CHILDREN, NODES, PODS, Raw, Resource
from rlvr_operator.controller import Controller, Senses
from rlvr_operator.health import Vitals, application, count_phases
from rlvr_operator.metrics import Board
from rlvr_operator.observed import JobSeen, Observed, PodSeen
from rlvr_operator.plan import Plan
from rlvr_operator.progress import Coordinators, ServiceAccountTokens, TokenSource, token_from_file
from rlvr_operator.settings import Settings
from rlvr_operator.workqueue import WorkQueue

log = logging.getLogger(__name__)
_MANAGED = f"{contract.LABEL_MANAGED}=true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logic:
    """The pure half of the operator, and what it needs to see."""

    reconcile: Callable[[Observed], Plan]
    parse_job: Callable[[Raw], JobSeen]
    parse_pod: Callable[[Raw], PodSeen | None]
    hash_of: Callable[[Raw], str]
    """What an applied child's annotation says about its content."""
    pod_groups: tuple[Resource, ...]
    """PodGroups of all gang APIs there are."""
    served: Callable[[], Collection[Resource]]
    """Those of them that the cluster has, as far as is known."""
    lacks_gang: Callable[[JobSeen], bool]
    """Whether the job waits for a gang API that the cluster is not known to have."""
    refresh: Callable[[Client], Awaitable[None]]
    """Asks the cluster again for what may change while the process runs."""


class Runtime:
    """One replica."""

    def __init__(self, access: Access, settings: Settings, logic: Logic) -> None:
        self._settings = settings
        self.board = Board()
        self._reach = Reach()
        self._queue: WorkQueue[Key] = WorkQueue(settle=settings.settle)
        self._lease_client = self._client(access, permit=lambda: float("inf"))
        self._election = Election(self._lease_client, _terms(settings))
        self.client = self._client(access, permit=lambda: self._election.seconds_left)
        self._caches = self._make_caches(logic)
        self._nodes = Nodes(self._node_changed)
        self._coordinators = self._make_coordinators()
        self._informers = self._make_informers()
        self._gangs: dict[Resource, tuple[Informer, ...]] = {}
        self._audit = Audit(self.client, self.jobs, namespaces=settings.watch_namespaces, reach=self._reach)
        self._controller = self._make_controller(logic)
        self._logic = logic

    @property
    def jobs(self) -> Cache[JobHeld]:
        return self._caches.jobs

    async def run(self) -> None:
        """Run until cancelled; the Lease is released on the way out."""
        server = web.AppRunner(
            application(self.vitals, self.board, stale_after=self._settings.stale_after), shutdown_timeout=1.0
        )
        try:
            await server.setup()
            await web.TCPSite(server, self._settings.host, self._settings.port).start()
            async with asyncio.TaskGroup() as tasks:
                for informer in self._informers:
                    tasks.create_task(informer.run())
                self._watch_gangs(tasks)
                tasks.create_task(self._search_gangs(tasks))
                tasks.create_task(self._audit.run(self._settings.audit))
                tasks.create_task(self._election.run(self._lead))
        finally:
            await server.cleanup()
            await self._coordinators.close()
            await self.client.close()
            await self._lease_client.close()

    def vitals(self) -> Vitals:
        """What health is judged by."""
        informers = (*self._informers, *(it for each in self._gangs.values() for it in each))
        watches = {informer.name: informer for informer in informers} | {contract.PLURAL: self._audit}
        ages = {name: watch.age for name, watch in watches.items()}
        return Vitals(
            ages=ages,
            unsynced=frozenset(name for name, watch in watches.items() if not watch.synced.is_set()),
            server_age=time.monotonic() - self._election.answered_at,
            is_leader=self._election.is_leader,
            queued=len(self._queue) if self._election.is_leader else 0,
            jobs=count_phases([entry.value.seen.status.phase for entry in self.jobs.entries()]),
        )

    async def _lead(self) -> None:
        """What the leader does beside keeping its Lease."""
        try:
            for synced in [*(informer.synced for informer in self._informers), self._audit.synced]:
                await synced.wait()
            log.info("Everything is listed: %d jobs, %d pods.", len(self.jobs), len(self._caches.pods))
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._resync())
                for _ in range(self._settings.workers):
                    tasks.create_task(self._controller.work())
        finally:
            await self._coordinators.close()

    async def _search_gangs(self, tasks: asyncio.TaskGroup) -> None:
        """Gang APIs may be installed later than this operator."""
        while True:
            await asyncio.sleep(self._settings.gang_search)
            waiting = [entry for entry in self.jobs.entries() if self._logic.lacks_gang(entry.value.seen)]
            if waiting:
                await self._logic.refresh(self.client)
            self._watch_gangs(tasks)
            for entry in waiting:
                if not self._logic.lacks_gang(entry.value.seen):
                    self._queue.add(entry.job)

    def _watch_gangs(self, tasks: asyncio.TaskGroup) -> None:
        """Watch the PodGroups that the cluster has; nobody waits for them, for only jobs with such a gang have some."""
        for resource in self._logic.served():
            if resource not in self._gangs:
                self._gangs[resource] = self._informers_of(resource, self._caches.children[resource], names_only=True)
                for informer in self._gangs[resource]:
                    tasks.create_task(informer.run())

    async def _resync(self) -> None:
        """All jobs at once when leadership begins, then each of them once a period, spread over it."""
        for key in self.jobs.jobs():
            self._queue.add(key)
        while True:
            await asyncio.sleep(self._settings.resync)
            await self._logic.refresh(self.client)
            for key in self.jobs.jobs():
                self._queue.add_after(key, random.uniform(0, self._settings.resync))

    def _node_changed(self, name: str) -> None:
        for entry in self._caches.pods.entries():
            if entry.value.node == name:
                self._queue.add(entry.job)

    def _client(self, access: Access, *, permit: Callable[[], float]) -> Client:
        def count(verb: str, resource: str, code: int) -> None:
            self.board.add("rlvr_operator_api_requests_total", verb=verb, resource=resource, code=str(code))

        settings = self._settings
        return Client(
            access,
            connect_timeout=settings.connect_timeout,
            request_timeout=settings.request_timeout,
            permit=permit,
            count=count,
        )

    def _make_caches(self, logic: Logic) -> Caches:
        ring = self._queue.add
        return Caches(
            jobs=Cache(held(logic.parse_job), ring, job_of=job_itself),
            pods=Cache(logic.parse_pod, ring),
            children={resource: Cache(logic.hash_of, ring) for resource in (*CHILDREN, *logic.pod_groups)},
        )

    def _make_informers(self) -> tuple[Informer, ...]:
        """What every operator watches."""
        pods = self._informers_of(PODS, self._caches.pods, names_only=False)
        children = (self._informers_of(kind, self._caches.children[kind], names_only=True) for kind in CHILDREN)
        nodes = (self._informer(Scope(resource=NODES), self._nodes),) if self._settings.watch_nodes else ()
        return (*pods, *(informer for each in children for informer in each), *nodes)

    def _informers_of(self, resource: Resource, feed: Feed, *, names_only: bool) -> tuple[Informer, ...]:
        """One for each namespace that is watched."""
        namespaces = self._settings.watch_namespaces or ("",)
        scopes = (Scope(resource=resource, namespace=it, selector=_MANAGED, names_only=names_only) for it in namespaces)
        return tuple(self._informer(scope, feed) for scope in scopes)

    def _informer(self, scope: Scope, feed: Feed) -> Informer:
        pace = Pace(watch_seconds=self._settings.watch_seconds, retry_ceiling=self._settings.retry_ceiling)
        return Informer(self.client, scope, feed, reach=self._reach, pace=pace)

    def _make_coordinators(self) -> Coordinators:
        settings = self._settings
        tokens: TokenSource = (
            token_from_file(Path(settings.progress_token_file))
            if settings.progress_token_file
            else ServiceAccountTokens(self.client, namespace=settings.namespace, account=settings.service_account)
        )
        return Coordinators(
            tokens,
            self._queue.add,
            between=(settings.progress_min, settings.progress_max),
            count=lambda outcome: self.board.add("rlvr_operator_progress_requests_total", outcome=outcome),
        )

    def _make_controller(self, logic: Logic) -> Controller:
        recorder = Recorder(self.client, instance=self._settings.identity)
        executor = Executor(
            self.client, self._caches, recorder, read_job=held(logic.parse_job), writes=self._settings.writes
        )
        senses = Senses(caches=self._caches, nodes=self._nodes, coordinators=self._coordinators)
        return Controller(logic.reconcile, senses, executor, self._queue, self.board)


def held(parse: Callable[[Raw], JobSeen]) -> Callable[[Raw], JobHeld]:
    """Reads a job as it is kept: parsed, with what a guarded write needs."""

    def read(raw: Raw) -> JobHeld:
        return JobHeld(parse(raw), raw.get("status") or {}, raw["metadata"]["resourceVersion"])

    return read


def _terms(settings: Settings) -> Terms:
    return Terms(
        namespace=settings.namespace,
        name=settings.lease_name,
        identity=settings.identity,
        duration=settings.lease_duration,
        renew_deadline=settings.renew_deadline,
        renew_period=settings.renew_period,
    )
