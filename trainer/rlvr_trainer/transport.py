"""HTTP between roles: one server scaffold, one client.

Every route but /health and /metrics, which tell numbers only, wants a bearer token (credentials.py).  The client
retries what is safe to repeat (connection refused or reset, 502, 503, 504) until its deadline; any other refusal is
raised with the peer's own words.  An answer may take as long as its deadline, but a peer whose machine or pod is gone
without a word is noticed in seconds: kernels answer for processes that are busy, and nobody for what is not there.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from aiohttp import web

from rlvr_trainer.credentials import TokenCheck, TokenSource
from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.metrics import Board

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_OPEN: Final = frozenset({"/health", "/metrics"})
_RETRYABLE_STATUS: Final = frozenset({502, 503, 504})
_MAX_BODY_BYTES: Final = 256 * 2**20
_KEEP_ALIVE_SECONDS: Final = 4.0  # below the 5 s after which uvicorn (vLLM) closes idle connections
_PROBE_SECONDS: Final = 5
_SILENCE_SECONDS: Final = 15


def refusal(header: str | None, check: TokenCheck) -> str | None:
    """Why an Authorization header lets nobody in; None when it does."""
    scheme, _, token = (header or "").partition(" ")
    return check(token.strip()) if scheme == "Bearer" and token else "a bearer token is missing"


def make_app(board: Board, *, check: TokenCheck | None) -> web.Application:
    """An application with /metrics, readable errors and, given a check, a lock on every route that is not open."""

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        if check is not None and request.path not in _OPEN:
            reason = refusal(request.headers.get("Authorization"), check)
            if reason is not None:
                return web.json_response({"error": reason}, status=401)
        try:
            return await handler(request)
        except Unavailable as error:
            return web.json_response({"error": str(error)}, status=503, headers={"Retry-After": "1"})
        except (TrainerError, json.JSONDecodeError) as error:
            return web.json_response({"error": str(error)}, status=400)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=board.render(), content_type="text/plain", charset="utf-8")

    app = web.Application(middlewares=[gate], client_max_size=_MAX_BODY_BYTES)
    app.router.add_get("/metrics", metrics)
    return app


@asynccontextmanager
async def serving(
    app: web.Application, *, host: str, port: int, cancel_on_disconnect: bool = False
) -> AsyncIterator[str]:
    """Serve `app` while the block runs; yields the base URL (port 0 takes a free one).

    With `cancel_on_disconnect` a handler is cancelled when whoever asked has gone.
    """
    runner = web.AppRunner(
        app, handle_signals=False, access_log=None, shutdown_timeout=1.0, handler_cancellation=cancel_on_disconnect
    )
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    try:
        await site.start()
        bound = runner.addresses[0][1]
        yield f"http://{host}:{bound}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def open_client(*, token: TokenSource | None, keep_alive: bool = True) -> AsyncIterator[Client]:
    """A client that shows the token of the moment; its connections close with the block.

    Without `keep_alive` each request has its own: vLLM closes a connection on which it answered 500 without saying so,
    and the next request on it would be lost.
    """

    async def sign(request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        if token is not None:
            request.headers["Authorization"] = f"Bearer {token()}"
        return await send(request)

    idle = _KEEP_ALIVE_SECONDS if keep_alive else None
    connector = aiohttp.TCPConnector(
        limit=0, keepalive_timeout=idle, force_close=not keep_alive, socket_factory=probing_socket
    )
    async with aiohttp.ClientSession(connector=connector, middlewares=(sign,)) as session:
        yield Client(session)


def probing_socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket whose connection ends when the other kernel has said nothing for 15 s; elsewhere than on Linux when the
    system thinks it right.
    """
    family, kind, protocol = address[:3]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_SECONDS)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_SECONDS * 1000)
    return made


class Client:
    """JSON requests with a deadline in seconds over all tries."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def get(self, url: str, *, deadline: float) -> Any:
        return await self._until(deadline, "GET", url, None)

    async def post(self, url: str, body: Any = None, *, deadline: float) -> Any:
        return await self._until(deadline, "POST", url, body)

    async def _until(self, deadline: float, method: str, url: str, body: Any) -> Any:
        loop = asyncio.get_running_loop()
        ends, delay = loop.time() + deadline, 0.02
        while True:
            remaining = ends - loop.time()
            try:
                return await self.once(method, url, body, timeout=max(remaining, 0.001))
            except Unavailable:
                if remaining <= delay:
                    raise
            await asyncio.sleep(delay)
            delay = min(delay * 2, 1.0)

    async def once(self, method: str, url: str, body: Any, *, timeout: float) -> Any:  # noqa: ASYNC109 - aiohttp enforces it
        """One try: Unavailable when it may be repeated, TrainerError with the peer's words when it may not."""
        data = await self._send(method, url, body, timeout=timeout)
        return json.loads(data) if data else None

    async def ask(self, url: str, body: Any, *, timeout: float, kind: type[T]) -> T:  # noqa: ASYNC109 - as above
        """One POST whose reply is read straight into `kind`: ten times as fast as by way of dictionaries."""
        data = await self._send("POST", url, body, timeout=timeout)
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.DecodeError as error:
            raise TrainerError(f"POST {url} answered something else than expected: {error}") from error

    async def _send(self, method: str, url: str, body: Any, *, timeout: float) -> bytes:  # noqa: ASYNC109 - as above
        limits = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self.session.request(method, url, json=body, timeout=limits) as reply:
                data = await reply.read()
        except TimeoutError as error:
            raise Unavailable(f"{method} {url} gave no answer within {timeout:.1f} s") from error
        except aiohttp.ClientError as error:
            raise Unavailable(f"{method} {url} failed: {type(error).__name__}: {error}") from error
        if reply.status < 400:
            return data
        words = f"{method} {url} answered {reply.status}: {data[:500].decode(errors='replace')}"
        raise Unavailable(words) if reply.status in _RETRYABLE_STATUS else TrainerError(words)
