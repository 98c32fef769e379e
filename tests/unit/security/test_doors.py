"""Who gets through the door of a role, and with what a client knocks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from rlvr_trainer.credentials import TokenCheck, shared
from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.transport import make_app, open_client, refusal, serving

CHECK = shared(lambda: "secret")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic secret", "bearer secret", "secret"], ids=str)
def test_a_header_without_a_bearer_token_lets_nobody_in(header: str | None) -> None:
    assert refusal(header, CHECK) == "a bearer token is missing"


def test_a_token_is_for_the_check_to_judge() -> None:
    assert refusal("Bearer secret", CHECK) is None
    assert refusal("Bearer  secret ", CHECK) is None
    assert refusal("Bearer guess", CHECK) == "wrong bearer token"


@asynccontextmanager
async def a_role(check: TokenCheck | None) -> AsyncIterator[str]:
    async def work(_: web.Request) -> web.Response:
        return web.json_response({"done": True})

    async def busy(_: web.Request) -> web.Response:
        raise Unavailable("later")

    app = make_app(Board(), check=check)
    app.router.add_get("/health", work)
    app.router.add_get("/work", work)
    app.router.add_get("/busy", busy)
    async with serving(app, host="127.0.0.1", port=0) as url:
        yield url


async def test_health_and_figures_are_open_and_the_rest_is_locked_with_the_reason() -> None:
    async with a_role(CHECK) as url, aiohttp.ClientSession(url) as stranger:
        for path, status in (("/health", 200), ("/metrics", 200), ("/work", 401), ("/nowhere", 401)):
            async with stranger.get(path) as reply:
                assert reply.status == status
        async with stranger.get("/work", headers={"Authorization": "Bearer guess"}) as reply:
            assert await reply.json() == {"error": "wrong bearer token"}


async def test_without_a_check_everything_is_open() -> None:
    async with a_role(None) as url, aiohttp.ClientSession(url) as stranger, stranger.get("/work") as reply:
        assert reply.status == 200


async def test_who_comes_too_early_is_told_when_to_come_back() -> None:
    async with a_role(None) as url, aiohttp.ClientSession(url) as stranger, stranger.get("/busy") as reply:
        assert (reply.status, reply.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_a_client_shows_the_token_of_the_moment(*, keep_alive: bool) -> None:
    tokens = ["secret"]
    async with a_role(CHECK) as url, open_client(token=lambda: tokens[0], keep_alive=keep_alive) as client:
        assert await client.get(f"{url}/work", deadline=5) == {"done": True}

        tokens[0] = "stale"

        with pytest.raises(TrainerError, match="wrong bearer token"):
            await client.get(f"{url}/work", deadline=5)
