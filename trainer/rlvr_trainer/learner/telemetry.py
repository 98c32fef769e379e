"""/health and /metrics of the learner, answered by a thread of their own while the main one computes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, TypeVar

from aiohttp import web

from rlvr_trainer.metrics import Board
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.transport import make_app, serving

T = TypeVar("T")


@contextmanager
def telemetry(board: Board, surroundings: Surroundings) -> Iterator[str]:
    """Serve while the block runs; yields the base URL.  A port that is taken is an OSError here, not in the thread."""
    app = make_app(board, check=None)
    app.router.add_get("/health", _health)
    server = AsyncExitStack()
    with _event_loop() as loop:
        try:
            yield _await(server.enter_async_context(serving(app, host=surroundings.host, port=surroundings.port)), loop)
        finally:
            _await(server.aclose(), loop)


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs in a thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="telemetry", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _await(work: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    return asyncio.run_coroutine_threadsafe(work, loop).result()


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})
