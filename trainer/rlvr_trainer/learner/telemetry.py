"""/health and /metrics of the learner, answered by a thread of their own while the main one computes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from aiohttp import web

from rlvr_trainer.metrics import Board
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.transport import make_app, serving


@contextmanager
def telemetry(board: Board, surroundings: Surroundings) -> Iterator[str]:
    """Serve while the block runs; yields the base URL.  A port that is taken is an OSError here, not in the thread."""
    address: Future[str] = Future()
    loop = asyncio.new_event_loop()
    done = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(_serve(board, surroundings, address, done)),
        name="telemetry",
        daemon=True,
    )
    thread.start()
    try:
        yield address.result()
    finally:
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)
            thread.join(timeout=5.0)
        loop.close()


async def _serve(board: Board, surroundings: Surroundings, address: Future[str], done: asyncio.Event) -> None:
    app = make_app(board, token=surroundings.token)
    app.router.add_get("/health", _health)
    try:
        async with serving(app, host=surroundings.host, port=surroundings.port) as url:
            address.set_result(url)
            await done.wait()
    except OSError as error:
        address.set_exception(error)


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})
