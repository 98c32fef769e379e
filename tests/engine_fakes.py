"""An engine and a coordinator's policy files, in process, with faults that a test switches on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from rlvr_trainer.credentials import shared
from rlvr_trainer.metrics import Board
from rlvr_trainer.rollout.agent import Agent, agent_app, open_agent
from rlvr_trainer.rollout.engine import Patience
from rlvr_trainer.storage.policies import seal_policy
from rlvr_trainer.storage.signatures import SIGNATURE, Signature
from rlvr_trainer.transport import serving
from rlvr_trainer.wire import to_json

TOKEN = "secret"


def a_token() -> str:
    return TOKEN


CHECK = shared(a_token)
IMPATIENT = Patience(between_looks=0.1, look=0.3, pause=0.3, load=0.3, label=0.3, resume=0.3, probe=0.3)
PATIENT = Patience(between_looks=0.1, look=5, pause=5, load=5, label=5, resume=5, probe=5, broadcast=3)
"""For tests in which nothing hangs but what they say."""

_CONTROL = (
    *("/pause", "/collective_rpc", "/update_weight_version", "/resume", "/abort_requests"),
    *("/start_weight_update", "/update_weights", "/finish_weight_update", "/shutdown_weight_transfer_engine"),
)


async def eventually(holds: Callable[[], Awaitable[bool]], *, seconds: float = 20) -> None:
    """Wait until `holds` does."""
    async with asyncio.timeout(seconds):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.01)


@dataclass
class FakeEngine:
    """Speaks vLLM's control routes; remembers what it was told."""

    version: str = "default"
    told: list[str] = field(default_factory=list)
    """Every control call, in order."""
    failing: dict[str, int] = field(default_factory=dict)
    """Status that a path answers with instead."""
    hanging: set[str] = field(default_factory=set)
    """Paths that never answer."""
    waiting: dict[str, asyncio.Event] = field(default_factory=dict)
    """Paths that answer once an event has come."""
    is_old: bool = False
    """Whether it is a vLLM from before weights had versions."""
    has_plugin: bool = False
    """Whether weights may come from a folder by weight transfer."""
    world_size: int = 1
    joined: list[dict[str, Any]] = field(default_factory=list)
    """What it was told of each group that it was brought into."""
    received: list[dict[str, Any]] = field(default_factory=list)
    """What it was told of each transfer of weights."""
    opinion: Sequence[float] = ()
    """Log-probabilities that a probe is answered with, for every token but the first."""
    answer: asyncio.Event = field(default_factory=asyncio.Event)
    """Generation waits for this."""
    ignoring: bool = False
    """Whether a new label is accepted and forgotten."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of the newest generation request."""
    abandoned: int = 0
    """Generation requests whose asker left."""

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._faults])
        app.router.add_get("/version", self._version)
        app.router.add_get("/weight_info", self._weight_info)
        app.router.add_get("/get_world_size", self._world_size)
        app.router.add_post("/init_weight_transfer_engine", self._init_transfer)
        app.router.add_post("/inference/v1/generate", self._generate)
        for path in _CONTROL:
            app.router.add_post(path, self._control)
        return app

    @web.middleware
    async def _faults(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path in self.hanging:
            await asyncio.sleep(60)
        if request.path in self.waiting:
            await self.waiting[request.path].wait()
        if request.path in self.failing:
            return web.Response(status=self.failing[request.path], text="told to fail")
        reply: web.StreamResponse = await handler(request)
        return reply

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "0.18.1" if self.is_old else "0.32.0+cpu"})

    async def _world_size(self, _: web.Request) -> web.Response:
        return web.json_response({"world_size": self.world_size})

    async def _init_transfer(self, request: web.Request) -> web.Response:
        told = (await request.json())["init_info"]
        if "rank_offset" in told:
            self.joined.append(told)
            return web.json_response({})
        return web.json_response({}, status=200 if self.has_plugin else 500)

    async def _weight_info(self, _: web.Request) -> web.Response:
        return web.json_response({"weight_version": self.version})

    async def _control(self, request: web.Request) -> web.Response:
        self.told.append(request.path_qs)
        body = await request.json() if request.can_read_body else {}
        label = body.get("new_version") or body.get("weight_version")
        if label and not self.ignoring:
            self.version = label
        self.received += [body["update_info"]] if "update_info" in body else []
        return web.json_response({})

    async def _generate(self, request: web.Request) -> web.Response:
        asked = await request.json()
        if isinstance(asked, dict):
            return self._probed(asked)
        self.headers = dict(request.headers)
        try:
            await self.answer.wait()
        except asyncio.CancelledError:
            self.abandoned += 1
            raise
        return web.Response(body=b'{"echo": ' + await request.read() + b"}", content_type="application/json")

    def _probed(self, asked: dict[str, Any]) -> web.Response:
        assert (asked["sampling_params"]["prompt_logprobs"], asked["cache_salt"]) == (0, self.version)
        rows = zip(asked["token_ids"][1:], self.opinion, strict=False)
        logprobs = [None, *({str(token): {"logprob": logprob}} for token, logprob in rows)]
        return web.json_response({"choices": [], "prompt_logprobs": logprobs})


@dataclass
class FakePolicies:
    """Policies as a coordinator serves them; `spoiled` files arrive changed."""

    folder: Path
    url: str = ""
    spoiled: set[str] = field(default_factory=set)
    served: list[str] = field(default_factory=list)
    status: int = 200

    def publish(self, step: int, *, files: dict[str, bytes] | None = None, signature: Signature | None = None) -> str:
        draft = self.folder / "draft"
        draft.mkdir(parents=True)
        if signature is not None:
            (draft / SIGNATURE).write_bytes(to_json(signature))
        for name, data in (files or {"model.safetensors": b"weights %d" % step, "config.json": b"{}"}).items():
            (draft / name).parent.mkdir(exist_ok=True)
            (draft / name).write_bytes(data)
        return seal_policy(draft, step=step)

    async def file(self, request: web.Request) -> web.Response:
        label, name = request.match_info["label"], request.match_info["file"]
        self.served.append(name)
        data = (self.folder / label / name).read_bytes()
        return web.Response(body=data + b"!" if name in self.spoiled else data, status=self.status)


@contextlib.asynccontextmanager
async def served_policies(folder: Path) -> AsyncIterator[FakePolicies]:
    policies = FakePolicies(folder)
    app = web.Application()
    app.router.add_get("/policies/{label}/{file:.+}", policies.file)
    async with serving(app, host="127.0.0.1", port=0) as url:
        policies.url = f"{url}/policies"
        yield policies


@dataclass(frozen=True)
class Door:
    """An agent that listens, before a fake engine."""

    url: str
    agent: Agent
    engine: FakeEngine
    board: Board


@contextlib.asynccontextmanager
async def a_door(folder: Path, *, max_in_flight: int = 8, patience: Patience = IMPATIENT) -> AsyncIterator[Door]:
    engine, board = FakeEngine(), Board()
    async with (
        serving(engine.app(), host="127.0.0.1", port=0, cancel_on_disconnect=True) as engine_url,
        open_agent(
            engine_url,
            policies=folder,
            token=a_token,
            board=board,
            max_in_flight=max_in_flight,
            patience=patience,
        ) as agent,
        serving(agent_app(agent, board, check=CHECK), host="127.0.0.1", port=0, cancel_on_disconnect=True) as url,
    ):
        yield Door(url, agent, engine, board)


class Caller:
    """A coordinator's requests to the agent."""

    def __init__(self, session: aiohttp.ClientSession, door: Door, policies: FakePolicies) -> None:
        self.session, self.door, self.policies = session, door, policies

    async def status(self) -> tuple[str, str | None]:
        async with self.session.get(f"{self.door.url}/status") as reply:
            body = await reply.json()
            return body["state"], body["version"]

    async def health(self) -> int:
        async with self.session.get(f"{self.door.url}/health") as reply:
            return reply.status

    async def send(self, label: str) -> tuple[int, Any]:
        body = {"label": label, "url": f"{self.policies.url}/{label}"}
        async with self.session.post(f"{self.door.url}/policy", json=body) as reply:
            return reply.status, await reply.json()

    async def generate(self, number: int = 1) -> tuple[int, Any]:
        async with self.session.post(f"{self.door.url}/inference/v1/generate", json=number) as reply:
            return reply.status, await reply.json()

    async def until(self, state: str) -> None:
        async def holds() -> bool:
            return (await self.status())[0] == state

        await eventually(holds)


async def truth(value: object) -> bool:
    return bool(value)


async def in_flight(door: Door, number: int) -> None:
    """Wait until the engine has so many generation requests."""

    async def holds() -> bool:
        return f"rlvr_rollout_requests_in_flight {number}.0" in door.board.render().decode()

    await eventually(holds)
