"""Key -> observe -> reconcile -> carry out -> look again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from rlvr_operator.cluster.cache import Key
from rlvr_operator.cluster.executor import Caches, Executor, JobHeld
from rlvr_operator.cluster.nodes import Nodes
from rlvr_operator.errors import ApiError, Conflict, LeadershipLost, Missing, Unavailable
from rlvr_operator.last_words import last_words
from rlvr_operator.metrics import Board
from rlvr_operator.observed import Observed, Refusal
from rlvr_operator.plan import Plan
from rlvr_operator.progress import Coordinators
from rlvr_operator.workqueue import LAST_RETRY_SECONDS, WorkQueue

log = logging.getLogger(__name__)
PASSING_SECONDS: Final = 5.0
"""What is not the job's own fault (an old copy, a server that is away) does not make it wait longer and longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Senses:
    """What the controller looks at."""

    caches: Caches
    nodes: Nodes
    coordinators: Coordinators


class Controller:
    """Looks at one job after the other; several workers may run at a time."""

    def __init__(
        self,
        reconcile: Callable[[Observed], Plan],
        senses: Senses,
        executor: Executor,
        queue: WorkQueue[Key],
        board: Board,
    ) -> None:
        self._reconcile = reconcile
        self._senses = senses
        self._executor = executor
        self._queue = queue
        self._board = board
        self._refusals: dict[Key, dict[str, Refusal]] = {}

    async def work(self) -> None:
        """One worker.  Never returns."""
        while True:
            key, waited = await self._queue.get()
            began = time.perf_counter()
            if waited is not None:
                self._board.observe("rlvr_operator_event_to_reconcile_seconds", waited)
            try:
                await self.attempt(key)
            finally:
                self._queue.done(key)
                self._board.observe("rlvr_operator_reconcile_seconds", time.perf_counter() - began)

    async def look(self, key: Key) -> None:
        """The whole story of one job, once."""
        held = self._senses.caches.jobs.find(key, key.name)
        if held is None:
            self._forget(key)
            return
        seen = self._observe(key, held.value)
        plan = self._reconcile(seen)
        refused = await self._executor.carry_out(held.value, plan)
        self._remember(key, plan, refused)
        if plan.look_again_seconds is not None:
            self._queue.add_after(key, plan.look_again_seconds)

    def _observe(self, key: Key, held: JobHeld) -> Observed:
        caches, job = self._senses.caches, held.seen
        pods = tuple(entry.value for entry in caches.pods.of(key) if entry.owner == job.uid)
        self._senses.coordinators.follow(key, job, pods)
        return Observed(
            job=job,
            pods=pods,
            applied={
                f"{resource.kind}/{entry.name}": entry.value
                for resource, cache in caches.children.items()
                for entry in cache.of(key)
                if entry.owner == job.uid
            },
            progress=last_words(job, pods) or self._senses.coordinators.heard(key),
            listening_since=self._senses.coordinators.listening_since(key),
            refusals=tuple(self._refusals.get(key, {}).values()),
            lost_nodes=self._senses.nodes.lost({pod.node for pod in pods}),
            now=time.time(),
        )

    def _remember(self, key: Key, plan: Plan, refused: Sequence[Refusal]) -> None:
        """A refusal stands until what was refused has been made."""
        made = {f"{it['kind']}/{it['metadata']['name']}" for it in (*plan.later, *plan.apply, *plan.create)}
        kept = {what: it for what, it in self._refusals.get(key, {}).items() if what not in made}
        self._refusals[key] = kept | {it.what: it for it in refused}
        for it in refused:
            self._board.add("rlvr_operator_refusals_total", code=str(it.code))
        if refused:
            self._queue.retry(key)
        else:
            self._queue.succeed(key)

    def _forget(self, key: Key) -> None:
        self._refusals.pop(key, None)
        self._senses.coordinators.forget(key)
        self._queue.forget(key)

    async def attempt(self, key: Key) -> None:
        """A look that raises nothing: what goes wrong is tried again later."""
        try:
            await self.look(key)
        except (Conflict, Missing, Unavailable, LeadershipLost) as error:
            log.debug("%s/%s: %s", *key, error)
            self._fail(key, error, ceiling=PASSING_SECONDS)
        except ApiError as error:
            log.warning("%s/%s: the API server refused: %s", *key, error)
            self._fail(key, error)
        except Exception as error:  # one job's surprise must not stop the others
            log.exception("%s/%s: looking at it failed; trying again later", *key)
            self._fail(key, error)

    def _fail(self, key: Key, error: Exception, *, ceiling: float = LAST_RETRY_SECONDS) -> None:
        self._board.add("rlvr_operator_reconcile_errors_total", kind=type(error).__name__)
        self._queue.retry(key, ceiling=ceiling)
