"""The front door of one engine: generation in, policies in, state out.

The engine listens on loopback without authentication; everything reaches it through here.  An engine is given work only
while the version of its weights is known, and what it answers is passed on unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from rlvr_api import RLVRJob, contract
from rlvr_trainer.credentials import TokenCheck, TokenSource, credentials_of
from rlvr_trainer.errors import InvalidInput, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.rollout.broadcasts import Broadcast, Joining, Skipped
from rlvr_trainer.rollout.engine import EngineControl, Patience
from rlvr_trainer.rollout.fetch import remove_partial
from rlvr_trainer.rollout.updates import Updates
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.transport import make_app, open_client, serving
from rlvr_trainer.wire import from_json

T = TypeVar("T")
log = logging.getLogger(__name__)
_QUEUE: Final = 4
"""Requests let through at once, in multiples of what the engine works on; more is a client that has lost count."""
_PATIENCE: Final = Patience()
_JSON: Final = {"Content-Type": "application/json"}
_NO_DEADLINE: Final = aiohttp.ClientTimeout(total=None, sock_connect=5)
"""How long an answer may take is for whoever asked to say."""


class PolicyOffer(msgspec.Struct, frozen=True):
    """Body of POST /policy."""

    label: str
    url: str


def main(surroundings: Surroundings) -> None:
    """Serve until SIGTERM."""
    job = RLVRJob.model_validate_json(surroundings.job.read_bytes())
    asyncio.run(_serve(surroundings, max_in_flight=_QUEUE * job.spec.rollout.max_concurrent))
    raise SystemExit(contract.EXIT_STOPPED)


async def _serve(surroundings: Surroundings, *, max_in_flight: int) -> None:
    if not surroundings.engine:
        raise InvalidInput("RLVR_ENGINE is not set: the agent needs the URL of its engine.")
    stop, board, credentials = asyncio.Event(), Board("rlvr_rollout_"), credentials_of(surroundings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    policies = (surroundings.folder / "policies").resolve()  # the engine may stand elsewhere
    async with open_agent(
        surroundings.engine, policies=policies, token=credentials.token, board=board, max_in_flight=max_in_flight
    ) as agent:
        app = agent_app(agent, board, check=credentials.check)
        async with serving(app, host=surroundings.host, port=surroundings.port, cancel_on_disconnect=True) as url:
            log.info("agent of %s listens on %s", surroundings.engine, url)
            await _until(stop, agent.given_up)


async def _until(stop: asyncio.Event, given_up: asyncio.Future[None]) -> None:
    """Return when asked to stop; raise when the engine is given up."""
    given_up.add_done_callback(lambda _: stop.set())
    await stop.wait()
    if given_up.done():
        given_up.result()


@contextlib.asynccontextmanager
async def open_agent(
    engine_url: str,
    *,
    policies: Path,
    token: TokenSource,
    board: Board,
    max_in_flight: int,
    patience: Patience = _PATIENCE,
) -> AsyncIterator[Agent]:
    """An agent that watches its engine while the block runs."""
    remove_partial(policies)
    async with (
        open_client(token=None) as local,
        open_client(token=None, keep_alive=False) as control,
        open_client(token=token) as coordinator,
    ):
        door = FrontDoor(local.session, engine_url, board, max_in_flight=max_in_flight)
        engine = EngineControl(control, engine_url, patience)
        updates = Updates(engine, coordinator.session, board, policies=policies, answers=door)
        watch = asyncio.create_task(_watch(updates, patience.between_looks))
        try:
            yield Agent(door, updates)
        finally:
            watch.cancel()


async def _watch(updates: Updates, seconds: float) -> NoReturn:
    while True:
        await updates.look()
        await asyncio.sleep(seconds)


def agent_app(agent: Agent, board: Board, *, check: TokenCheck) -> web.Application:
    """The routes of one agent."""
    app = make_app(board, check=check)
    app.router.add_get("/health", agent.health)
    app.router.add_get("/status", agent.status)
    app.router.add_post("/inference/v1/generate", agent.generate)
    app.router.add_post("/policy", agent.policy)
    app.router.add_get("/broadcast", agent.broadcast)
    app.router.add_post("/broadcast/join", agent.join)
    app.router.add_post("/broadcast/take", agent.take)
    app.router.add_post("/broadcast/skip", agent.skip)
    return app


class Agent:
    """Handlers over a front door and the updates of one engine."""

    def __init__(self, door: FrontDoor, updates: Updates) -> None:
        self._door = door
        self._updates = updates
        self._running: set[asyncio.Task[Any]] = set()

    @property
    def given_up(self) -> asyncio.Future[None]:
        """Gets the reason why the engine cannot serve."""
        return self._updates.given_up

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(status=200 if self._updates.standing.version is not None else 503)

    async def status(self, _: web.Request) -> web.Response:
        standing = self._updates.standing
        return web.json_response({"version": standing.version, "state": standing.state})

    async def broadcast(self, request: web.Request) -> web.Response:
        """What a learner that wants to broadcast asks; `size` only when it says so, for that asks the engine."""
        standing = self._updates.standing
        told = {"version": standing.version, "state": standing.state, "circle": standing.circle}
        told |= {"wanted": self._updates.meeting.wanted}
        sized = {"worldSize": await self._updates.world_size()} if "size" in request.query else {}
        return web.json_response(told | sized)

    async def join(self, request: web.Request) -> web.Response:
        await self._finished(self._updates.join(from_json(await request.read(), Joining)))
        return web.json_response({})

    async def take(self, request: web.Request) -> web.Response:
        await self._updates.meeting.take(from_json(await request.read(), Broadcast))
        return web.json_response({})

    async def skip(self, request: web.Request) -> web.Response:
        self._updates.meeting.skip(from_json(await request.read(), Skipped).label)
        return web.json_response({})

    async def generate(self, request: web.Request) -> web.StreamResponse:
        standing = self._updates.standing
        if standing.version is None:
            raise Unavailable(f"the engine is {standing.state} and has no known policy; POST /policy first.")
        return await self._door.forward(request)

    async def policy(self, request: web.Request) -> web.Response:
        offer = from_json(await request.read(), PolicyOffer)
        update = await self._finished(self._updates.move_to(offer.label, url=offer.url))
        seconds = {"fetchSeconds": update.fetch, "pauseSeconds": update.pause, "probeSeconds": update.probe}
        return web.json_response({"label": offer.label, **seconds})

    async def _finished(self, work: Coroutine[None, None, T]) -> T:
        """A task of its own: what has begun is finished even if whoever sent it has gone."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("policy update failed: %s", task.exception())


class FrontDoor:
    """Forwards generation requests, can keep their answers back and cut all of them off."""

    def __init__(self, session: aiohttp.ClientSession, engine_url: str, board: Board, *, max_in_flight: int) -> None:
        self._session = session
        self._url = f"{engine_url}/inference/v1/generate"
        self._board = board
        self._max_in_flight = max_in_flight
        self._deadlines: set[asyncio.Timeout] = set()
        self._may_answer = asyncio.Event()
        self._may_answer.set()

    def hold(self) -> None:
        self._may_answer.clear()

    def release(self) -> None:
        self._may_answer.set()

    def cut_off(self) -> None:
        """End every request in flight with 503: its answer could not be trusted, or will never come."""
        for deadline in self._deadlines:
            deadline.reschedule(0)
        self._deadlines.clear()

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Pass the request on and stream the answer back; Unavailable before the first byte if there is none."""
        if len(self._deadlines) >= self._max_in_flight:
            raise Unavailable(f"{self._max_in_flight} requests are in flight, which is all this replica takes.")
        body = await request.read()
        try:
            async with asyncio.timeout(None) as deadline:
                with self._counted(deadline):
                    async with self._session.post(
                        self._url, data=body, headers=_JSON, timeout=_NO_DEADLINE
                    ) as upstream:
                        return await self._answered(request, upstream)
        except TimeoutError as error:
            raise Unavailable("the engine was lost or its update failed while it answered; ask again.") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"the engine failed to answer: {type(error).__name__}: {error}") from error

    async def _answered(self, request: web.Request, upstream: aiohttp.ClientResponse) -> web.StreamResponse:
        """Stream the answer as fast as whoever asked reads it."""
        first = await upstream.content.readany()
        await self._may_answer.wait()
        reply = web.StreamResponse(status=upstream.status, headers={"Content-Type": upstream.content_type})
        await reply.prepare(request)
        try:
            await reply.write(first)
            async for chunk in upstream.content.iter_any():
                await reply.write(chunk)
            await reply.write_eof()
        except BaseException:
            # A cancellation too: half an answer is out, and only a broken connection can say that it is not whole.
            if request.transport is not None:
                request.transport.abort()
            raise
        return reply

    @contextlib.contextmanager
    def _counted(self, deadline: asyncio.Timeout) -> Iterator[None]:
        self._deadlines.add(deadline)
        self._board.set("rlvr_rollout_requests_in_flight", len(self._deadlines))
        try:
            yield
        finally:
            self._deadlines.discard(deadline)
            self._board.set("rlvr_rollout_requests_in_flight", len(self._deadlines))
