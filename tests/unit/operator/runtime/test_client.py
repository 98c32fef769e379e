"""The client against a server that misbehaves on purpose."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from object_store import free_ports
from rlvr_operator.cluster.client import Access, Client
from rlvr_operator.cluster.requests import Scope
from rlvr_operator.cluster.resources import JOBS, PODS, Raw
from rlvr_operator.errors import Conflict, Expired, LeadershipLost, Missing, Refused, Unavailable
from runtime_fakes import a_raw_pod

Answer = Callable[[web.Request], Any]


class Server:
    """Answers in turn as it is told; the last answer stands.  Remembers what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[web.Request] = []
        self.bodies: list[str] = []
        self.counted: list[tuple[str, str, int]] = []
        self.permit = float("inf")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        self.bodies.append(await request.text())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        found = answer(request)
        response: web.StreamResponse = await found if asyncio.iscoroutine(found) else found
        return response

    @asynccontextmanager
    async def client(self, **limits: float) -> AsyncIterator[Client]:
        (port,) = free_ports(1)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        access = Access()
        access.host = f"http://127.0.0.1:{port}"
        access.api_key["BearerToken"] = "Bearer secret"
        client = Client(
            access,
            **{"request_timeout": 0.5, **limits},
            permit=lambda: self.permit,
            count=lambda *counted: self.counted.append(counted),
        )
        try:
            yield client
        finally:
            await client.close()
            await runner.cleanup()


def says(body: Raw, code: int = 200, **headers: str) -> Answer:
    return lambda _request: web.json_response(body, status=code, headers=headers)


def refuses(code: int, message: str = "words", **headers: str) -> Answer:
    return says({"kind": "Status", "message": message}, code, **headers)


async def is_silent(_request: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def test_a_request_says_who_we_are_and_what_comes_back_is_a_plain_dictionary() -> None:
    server = Server(says({"metadata": {"name": "x"}}))
    async with server.client() as client:
        assert await client.get(PODS, "x", namespace="ns") == {"metadata": {"name": "x"}}

    assert server.asked[0].headers["Authorization"] == "Bearer secret"
    assert server.counted == [("GET", "pods", 200)]


async def test_a_server_that_is_busy_is_waited_for_as_it_asks() -> None:
    server = Server(refuses(429, **{"Retry-After": "1"}), refuses(503), says({"done": True}))
    began = time.monotonic()
    async with server.client() as client:
        assert await client.get(PODS, "x") == {"done": True}

    assert time.monotonic() - began > 0.8 + 0.8
    assert [code for _, _, code in server.counted] == [429, 503, 200]


async def test_a_server_that_stays_busy_is_unavailable_in_the_end() -> None:
    server = Server(refuses(429, "too many requests", **{"Retry-After": "0"}))
    async with server.client() as client:
        with pytest.raises(Unavailable, match="too many requests"):
            await client.get(PODS, "x")

    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("code", "kind"), [(403, Refused), (404, Missing), (409, Conflict), (422, Refused), (500, Refused)]
)
async def test_a_refusal_is_told_at_once_in_the_servers_words(code: int, kind: type[Exception]) -> None:
    server = Server(refuses(code, "exceeded quota: gpus"))
    async with server.client() as client:
        with pytest.raises(kind, match="exceeded quota: gpus"):
            await client.patch(JOBS, "x", namespace="ns", body={})

    assert len(server.asked) == 1


async def test_no_answer_is_unavailable_within_the_time_that_is_given() -> None:
    server = Server(is_silent)
    began = time.monotonic()
    async with server.client() as client:
        with pytest.raises(Unavailable):
            await client.get(PODS, "x")

    assert time.monotonic() - began < 2.0
    assert server.counted == [("GET", "pods", 0)]


async def test_a_server_that_is_not_there_is_unavailable_at_once() -> None:
    access = Access()
    access.host = f"http://127.0.0.1:{free_ports(1)[0]}"
    client = Client(access)
    with pytest.raises(Unavailable):
        await client.get(PODS, "x")
    await client.close()


async def test_a_write_takes_no_longer_than_leadership_is_certain_and_is_not_begun_at_its_end() -> None:
    server = Server(is_silent)
    async with server.client(request_timeout=20.0) as client:
        server.permit = 0.6
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await client.create(a_raw_pod())
        assert time.monotonic() - began < 2.0

        server.permit = 0.1
        with pytest.raises(LeadershipLost):
            await client.create(a_raw_pod())
        assert len(server.asked) == 1


async def test_reading_needs_no_leadership() -> None:
    server = Server(says({}))
    server.permit = 0.0
    async with server.client() as client:
        assert await client.get(PODS, "x") == {}


async def test_creating_what_exists_is_none_and_applying_takes_over_with_our_name() -> None:
    server = Server(refuses(409), says({"applied": True}))
    async with server.client() as client:
        assert await client.create(a_raw_pod()) is None
        assert await client.apply(a_raw_pod()) == {"applied": True}

    assert server.asked[1].query == {"fieldManager": "rlvr-operator", "force": "true"}
    assert server.asked[1].headers["Content-Type"] == "application/apply-patch+yaml"


async def test_a_deletion_is_of_one_incarnation_with_the_grace_that_was_asked_for() -> None:
    server = Server(says({"kind": "Status"}))
    async with server.client() as client:
        await client.delete(PODS, "x", namespace="ns", uid="u1", grace=0)

    assert '"preconditions": {"uid": "u1"}' in server.bodies[0]
    assert '"gracePeriodSeconds": 0' in server.bodies[0]


async def test_a_list_comes_in_chunks_until_there_are_no_more() -> None:
    first = {"metadata": {"resourceVersion": "5", "continue": "more"}, "items": [1]}
    server = Server(says(first), says({"metadata": {"resourceVersion": "5"}, "items": [2]}))
    async with server.client() as client:
        parts = [part async for part in client.list(Scope(resource=PODS, selector="a=b"), chunk=1)]

    assert [part["items"] for part in parts] == [[1], [2]]
    assert [request.query.get("continue") for request in server.asked] == [None, "more"]
    assert server.asked[0].query["labelSelector"] == "a=b"


async def test_names_are_enough_where_nothing_else_is_read() -> None:
    server = Server(says({"metadata": {"resourceVersion": "5"}, "items": None}))
    async with server.client() as client:
        _ = [part async for part in client.list(Scope(resource=PODS, names_only=True))]

    assert server.asked[0].headers["Accept"].startswith("application/json;as=PartialObjectMetadataList")


def streams(*pieces: bytes, then: float = 0.0) -> Answer:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        await asyncio.sleep(then)
        return response

    return stream


async def watched(server: Server, *, seconds: float = 5.0) -> list[str]:
    async with server.client() as client:
        return [event["type"] async for event in client.watch(Scope(resource=PODS), "7", seconds=seconds)]


async def test_a_watch_gives_whole_events_wherever_the_pieces_end() -> None:
    server = Server(streams(b'{"type": "ADDED", "obj', b'ect": {}}\n{"type": "BOOKMARK", "object": {}}\n'))

    assert await watched(server) == ["CONNECTED", "ADDED", "BOOKMARK"]
    assert server.asked[0].query["resourceVersion"] == "7"
    assert server.asked[0].query["timeoutSeconds"] == "5"


async def test_a_watch_that_is_silent_for_longer_than_the_server_would_be_is_a_dead_connection() -> None:
    server = Server(streams(b'{"type": "ADDED", "object": {}}\n', then=30.0))
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await watched(server, seconds=1.0)

    assert 1.0 < time.monotonic() - began < 4.0


@pytest.mark.parametrize(
    "answer",
    [refuses(410), streams(b'{"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}\n')],
)
async def test_a_version_that_the_server_has_forgotten_is_said_either_way(answer: Answer) -> None:
    with pytest.raises(Expired):
        await watched(Server(answer))
