"""A door in front of an object store that a test can shut: while shut, every request is answered with 500."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp
from aiohttp import web

HOP_BY_HOP = frozenset({"transfer-encoding", "connection", "content-encoding", "content-length"})


class Door:
    """A forwarding HTTP server on its own thread; the Host header stays, so request signatures stay valid."""

    def __init__(self, behind: str) -> None:
        self.behind = behind
        self.shut = False
        self.refused = 0
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.shut:
            self.refused += 1
            return web.Response(status=500, text="<Error><Code>InternalError</Code></Error>")
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method, self.behind + request.raw_path, headers=request.headers, data=body
            ) as answer,
        ):
            headers = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            if request.method == "HEAD":
                headers["Content-Length"] = answer.headers.get("Content-Length", "0")
            return web.Response(status=answer.status, headers=headers, body=await answer.read())


@contextmanager
def door_to(endpoint: str) -> Iterator[Door]:
    """A door in front of `endpoint`, open at first."""
    door, loop, opened = Door(endpoint), asyncio.new_event_loop(), threading.Event()

    async def serve() -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", door.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        door.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        opened.set()

    loop.create_task(serve())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert opened.wait(10)
    try:
        yield door
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
