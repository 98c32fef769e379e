"""The `http` verifier against services that answer, are busy, are silent, or are something else."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from rlvr_api.reward import ExactVerifier, HttpVerifier, RewardSpec, VerifierSpec
from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.reward.pool import open_pool
from rlvr_trainer.reward.service import limits_of, reward_app, setup_of
from rlvr_trainer.samples import Outcome, Task, Verdict
from rlvr_trainer.transport import serving
from rlvr_trainer.verifiers.http import make

Handler = Callable[[web.Request], Awaitable[web.Response]]
RIGHT = {"verdicts": [{"id": "0", "outcome": "correct", "score": 1.0, "reason": "seen"}]}
TASK = Task(answer="7", source="facts", metadata={"level": 3})


@asynccontextmanager
async def answering(handler: Handler, *, path: str = "/score") -> AsyncIterator[str]:
    """The address of a service whose only route is `handler`."""
    app = web.Application()
    app.router.add_post(path, handler)
    async with serving(app, host="127.0.0.1", port=0) as url:
        yield f"{url}{path}"


def saying(body: Any, *, status: int = 200, **headers: str) -> Handler:
    """Answer always the same; text as it is, anything else as JSON."""

    async def handle(_: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status, headers=headers)

    return handle


async def asked(url: str, *, seconds: float = 30.0, text: str = "#7") -> Verdict:
    return await asyncio.to_thread(make(HttpVerifier(url=url), seconds=seconds), TASK, text)


async def test_one_item_goes_out_whole_and_one_verdict_comes_back() -> None:
    heard = []

    async def handle(request: web.Request) -> web.Response:
        heard.append((await request.json(), dict(request.headers)))
        return web.json_response(RIGHT)

    async with answering(handle) as url:
        assert await asked(url) == Verdict(outcome=Outcome.CORRECT, score=1.0, reason="seen")

    ((body, headers),) = heard
    (item,) = body["items"]
    assert (item["text"], item["finish"]) == ("#7", "stop")
    assert item["task"] == {"answer": "7", "source": "facts", "metadata": {"level": 3}}
    assert "Authorization" not in headers


async def test_a_busy_service_is_asked_again() -> None:
    calls = []

    async def handle(_: web.Request) -> web.Response:
        calls.append(time.monotonic())
        if len(calls) < 3:
            return web.Response(status=503 if len(calls) == 1 else 429, headers={"Retry-After": "0"})
        return web.json_response(RIGHT)

    async with answering(handle) as url:
        assert (await asked(url)).is_correct
    assert len(calls) == 3


async def test_a_service_that_stays_busy_is_no_answer_in_time() -> None:
    async with answering(saying("", status=503, **{"Retry-After": "9"})) as url:
        began = time.monotonic()
        with pytest.raises(Unavailable, match="is busy: it answered 503 until there was no time left"):
            await asked(url, seconds=1.0)
        assert time.monotonic() - began < 5.0


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, "where?", "answered 404: 'where\\?'"),
        (500, "x" * 500, r"answered 500: 'x{200}\.\.\.'"),
        (302, "", "answered 302"),
        (200, "<html>", "malformed"),
        (200, {"verdicts": []}, "gave 0 verdicts on one item"),
        (200, {"verdicts": [{"outcome": "fine"}]}, "fine"),
        (200, '{"verdicts": [{"outcome": "correct", "score": 1}], "x": "' + "y" * 2**21 + '"}', "truncated"),
    ],
)
async def test_anything_else_is_the_judges_failure(status: int, body: Any, words: str) -> None:
    async with answering(saying(body, status=status, Location="http://127.0.0.1:1/")) as url:
        with pytest.raises(TrainerError, match=words):
            await asked(url)


def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/score"
        began = time.monotonic()
        with pytest.raises(Unavailable, match="gave no answer: TimeoutError"):
            make(HttpVerifier(url=url), seconds=0.5)(TASK, "#7")

    assert time.monotonic() - began < 5.0


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(Unavailable, match=f"127.0.0.1:{port}/score gave no answer: ConnectionRefusedError"):
        make(HttpVerifier(url=f"http://127.0.0.1:{port}/score"), seconds=5.0)(TASK, "#7")


async def test_our_own_service_is_such_a_service() -> None:
    reward = RewardSpec(verifiers=(VerifierSpec(exact=ExactVerifier(answer_after="#")),), workers=1, timeout_seconds=60)
    async with open_pool(setup_of(reward), limits=limits_of(reward), board=Board()) as pool:
        app = reward_app(pool, Board(), check=None)
        async with serving(app, host="127.0.0.1", port=0) as url:
            assert (await asked(f"{url}/score", text="#7")).outcome is Outcome.CORRECT
            assert (await asked(f"{url}/score", text="#8")).outcome is Outcome.WRONG
            assert (await asked(f"{url}/score", text="8")).outcome is Outcome.MALFORMED
