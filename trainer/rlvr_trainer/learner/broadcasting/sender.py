"""The learner's side of broadcasts: who takes part is asked of the agents, then one policy after the other is sent.

    prepare   before a policy is published: find the replicas, meet them in a circle if theirs is not the same
    send      after it is published: wait until the coordinator wants it everywhere, then broadcast

What may block for ever (NCCL) runs on a daemon thread, HTTP and its deadlines on this one, and whichever fails first
ends both.  No failure here is one of the learner's: the policy's folder is published whatever happens, and replicas
take it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from torch import Tensor

from rlvr_trainer.credentials import TokenSource
from rlvr_trainer.errors import Unavailable
from rlvr_trainer.learner.broadcasting.agents import Call, is_wanted, joinings, replicas_at, skip
from rlvr_trainer.learner.broadcasting.plan import MOST_FAILURES, Circle, Patience, circle_for
from rlvr_trainer.storage.signatures import Signature
from rlvr_trainer.transport import Client, open_client

log = logging.getLogger(__name__)


class Transport(Protocol):
    """How weights travel; every call but the first may block for ever."""

    def rendezvous(self) -> dict[str, Any]:
        """What a new circle's members need to find this rank, beside their own."""
        ...

    def join(self, world_size: int) -> None:
        """Be rank 0 of the circle of the newest rendezvous; returns when all ranks are there."""
        ...

    def broadcast(self, weights: Mapping[str, Tensor]) -> None:
        """Send every tensor, in this order; returns when all have left."""
        ...

    def abandon(self) -> None:
        """Leave the circle; what is stuck in it should end.  Never raises or blocks for long."""
        ...


class Sender(Protocol):
    """Who brings policies to rollouts beside their folders."""

    def prepare(self) -> None:
        """Call before a policy is published."""
        ...

    def send(self, label: str, weights: Mapping[str, Tensor], signature: Signature) -> None:
        """Call once it is published."""
        ...


class Nobody:
    """Folders are all there is; also for every rank but the first."""

    def prepare(self) -> None:
        """Nobody to meet."""

    def send(self, label: str, weights: Mapping[str, Tensor], signature: Signature) -> None:
        """Nothing to do."""


class Broadcaster:
    """Sends from one thread, so never two policies at a time."""

    def __init__(
        self,
        transport: Transport,
        *,
        rollouts: Callable[[], tuple[str, ...]],
        token: TokenSource,
        patience: Patience,
        name: str,
    ) -> None:
        self._transport = transport
        self._rollouts = rollouts
        self._token = token
        self._patience = patience
        self._name = name
        self._circle: Circle | None = None
        self._has_met = False
        """Whether the transport may hold a circle, or a half of one."""
        self._num_circles = 0
        self._num_failures = 0

    def prepare(self) -> None:
        if self._num_failures < MOST_FAILURES:
            self._attempt("meeting rollouts", self._prepare)

    def send(self, label: str, weights: Mapping[str, Tensor], signature: Signature) -> None:
        if self._circle is None:
            return
        began, num_members = time.monotonic(), len(self._circle.members)
        call = Call(label=label, circle=self._circle, weights=weights, signature=signature)
        if self._attempt(f"broadcasting policy {label}", partial(self._send, call)):
            self._num_failures = 0
            log.info("policy %s broadcast to %d rollouts in %.2f s", label, num_members, time.monotonic() - began)

    def _attempt(self, what: str, work: Callable[[Client], Coroutine[None, None, bool]]) -> bool:
        """Whether it was done; a failure gives the circle up."""
        try:
            return asyncio.run(_with_client(self._token, work))
        except Exception as error:  # noqa: BLE001 - NCCL, CUDA and vLLM raise what they like, and there is a folder
            self._num_failures += 1
            self._leave()
            again = "the next policy tries again" if self._num_failures < MOST_FAILURES else "so will all others"
            log.warning("%s failed: %s: %s. It is taken from its folder; %s.", what, type(error).__name__, error, again)
            return False

    def _leave(self) -> None:
        if self._has_met:
            self._transport.abandon()
        self._circle, self._has_met = None, False

    async def _prepare(self, client: Client) -> bool:
        """Be in a circle with all who can be."""
        replicas = await replicas_at(client, self._rollouts(), seconds=self._patience.look)
        wanted = circle_for(replicas, known=self._circle, name=f"{self._name}-{self._num_circles}")
        if wanted == self._circle:
            return True
        self._leave()
        if wanted is not None:
            self._num_circles, self._has_met = self._num_circles + 1, True
            await self._meet(client, wanted)
            log.info("%d rollouts are in circle %s of %d ranks", len(wanted.members), wanted.name, wanted.world_size)
        self._circle = wanted
        return True

    async def _meet(self, client: Client, circle: Circle) -> None:
        seconds = self._patience.join
        bodies = joinings(circle, self._transport.rendezvous(), seconds=seconds)
        await first_to_fail(
            (
                on_daemon_thread(partial(self._transport.join, circle.world_size)),
                *(client.once("POST", f"{url}/broadcast/join", body, timeout=seconds) for url, body in bodies.items()),
            ),
            seconds=seconds,
        )

    async def _send(self, call: Call, client: Client) -> bool:
        """False when the coordinator does not want the policy everywhere by now; then nothing has happened."""
        urls, seconds = [member.url for member in call.circle.members], self._patience.take
        wanted = False
        try:
            wanted = await is_wanted(client, urls, call.label, patience=self._patience)
        finally:
            if not wanted:
                log.info("policy %s is not waited for by all rollouts: they take its folder", call.label)
                await skip(client, urls, call.label, seconds=self._patience.look)
        if not wanted:
            return False
        body = call.body(seconds=seconds)
        await first_to_fail(
            (
                on_daemon_thread(partial(self._transport.broadcast, call.weights)),
                *(client.once("POST", f"{url}/broadcast/take", body, timeout=seconds) for url in urls),
            ),
            seconds=seconds,
        )
        return True


async def _with_client(token: TokenSource, work: Callable[[Client], Coroutine[None, None, bool]]) -> bool:
    async with open_client(token=token) as client:
        return await work(client)


async def first_to_fail(works: Iterable[Awaitable[Any]], *, seconds: float) -> None:
    """Wait for all, or until one has failed or time is up; what is not done by then is not waited for."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*tasks)
    except TimeoutError as error:
        raise Unavailable(f"not all were done within {seconds:.0f} s") from error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def on_daemon_thread(work: Callable[[], None]) -> asyncio.Future[None]:
    """Run `work` where it may block for ever: neither a deadline here nor the end of the process waits for it."""
    done: concurrent.futures.Future[None] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()  # from now on a cancellation of who waits does not reach it

    def run() -> None:
        try:
            work()
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody waits
            done.set_exception(error)

    threading.Thread(target=run, name="broadcast", daemon=True).start()
    return asyncio.wrap_future(done)
