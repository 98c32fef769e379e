"""The local engine behind the routes of vLLM 0.32 that this project uses.

Same paths, bodies and replies, so that one client serves both; listens on loopback only and, like vLLM's reinforcement
learning routes, asks for no token: the rollout agent is the front door.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch
from aiohttp import web

from rlvr_api import RLVRJob, contract
from rlvr_trainer.engines.local.architecture import Architecture
from rlvr_trainer.engines.local.engine import open_engine
from rlvr_trainer.engines.local.loop import EngineLoop, PauseMode
from rlvr_trainer.engines.local.wire_format import parse_body, render_reply
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.metrics import Board
from rlvr_trainer.models.folder import model_folder
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.transport import make_app, serving

log = logging.getLogger(__name__)
_LOOPBACK: Final = "127.0.0.1"
_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main(surroundings: Surroundings) -> None:
    """Serve until terminated; raises when the engine dies."""
    # One thread: more would lose batch invariance and, for small models, most of the speed.
    torch.set_num_threads(1)
    asyncio.run(_serve(surroundings))
    raise SystemExit(contract.EXIT_STOPPED)


async def _serve(surroundings: Surroundings) -> None:
    job = RLVRJob.model_validate_json(surroundings.job.read_bytes())
    board = Board("rlvr_engine_")
    engine = open_engine(
        model_folder(job.spec.model),
        max_concurrent=job.spec.rollout.max_concurrent,
        max_context=job.spec.model.max_context,
        dtype=_DTYPES[job.spec.model.dtype],
    )
    loop = EngineLoop(engine, board)
    app = engine_app(engine.architecture, loop, board)
    over = asyncio.wrap_future(loop.died)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.cancel)
    loop.start()
    try:
        async with serving(app, host=_LOOPBACK, port=surroundings.port, cancel_on_disconnect=True) as url:
            log.info("engine listens on %s", url)
            with contextlib.suppress(asyncio.CancelledError):
                await over
    finally:
        loop.stop()


def engine_app(architecture: Architecture, loop: EngineLoop, board: Board) -> web.Application:
    """The routes of one engine."""
    routes = _Routes(architecture, loop)
    app = make_app(board, check=None)
    app.router.add_get("/health", routes.health)
    app.router.add_get("/version", routes.version)
    app.router.add_get("/weight_info", routes.weight_info)
    app.router.add_get("/is_paused", routes.is_paused)
    app.router.add_post("/inference/v1/generate", routes.generate)
    app.router.add_post("/abort_requests", routes.abort_requests)
    app.router.add_post("/pause", routes.pause)
    app.router.add_post("/resume", routes.resume)
    app.router.add_post("/collective_rpc", routes.collective_rpc)
    app.router.add_post("/update_weight_version", routes.update_weight_version)
    app.router.add_post("/reset_prefix_cache", routes.reset_prefix_cache)
    return app


class _Routes:
    def __init__(self, architecture: Architecture, loop: EngineLoop) -> None:
        self.architecture = architecture
        self.loop = loop

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(status=500 if self.loop.died.done() else 200)

    async def version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": version("rlvr-operator"), "engine": "local"})

    async def weight_info(self, _: web.Request) -> web.Response:
        return web.json_response({"weight_version": self.loop.weight_version})

    async def is_paused(self, _: web.Request) -> web.Response:
        return web.json_response({"is_paused": self.loop.is_paused})

    async def generate(self, request: web.Request) -> web.Response:
        asked, with_logprobs, with_prompt = parse_body(await request.read(), self.architecture)
        try:
            choices = await asyncio.wrap_future(self.loop.generate(asked))
        except asyncio.CancelledError:
            self.loop.abort([asked.request_id])
            raise
        prompt = None
        if with_prompt:
            prompt = await asyncio.wrap_future(self.loop.score(asked.token_ids))
        body = render_reply(asked, choices, with_logprobs=with_logprobs, prompt_logprobs=prompt)
        return web.Response(body=body, content_type="application/json")

    async def abort_requests(self, request: web.Request) -> web.Response:
        ids = (await _object(request)).get("request_ids")
        aborted = await asyncio.wrap_future(self.loop.abort(ids or None))
        return web.json_response({"status": "aborted", "aborted": aborted})

    async def pause(self, request: web.Request) -> web.Response:
        mode = request.query.get("mode", PauseMode.ABORT)
        if mode not in set(PauseMode):
            raise InvalidInput(f"mode={mode} is not one of {', '.join(PauseMode)}.")
        await asyncio.wrap_future(
            self.loop.pause(PauseMode(mode), drop_cache=_flag(request, "clear_cache", default=True))
        )
        return web.json_response({"status": "paused"})

    async def resume(self, _: web.Request) -> web.Response:
        await asyncio.wrap_future(self.loop.resume())
        return web.json_response({"status": "resumed"})

    async def collective_rpc(self, request: web.Request) -> web.Response:
        body = await _object(request)
        method, arguments = body.get("method"), body.get("kwargs") or {}
        if method != "reload_weights" or "weights_path" not in arguments:
            raise InvalidInput(
                f"method {method!r} with {sorted(arguments)} is not served; the local engine has only reload_weights "
                "with weights_path."
            )
        await asyncio.wrap_future(self.loop.load(Path(arguments["weights_path"])))
        return web.json_response({"results": [None]})

    async def update_weight_version(self, request: web.Request) -> web.Response:
        label = (await _object(request)).get("new_version")
        if not isinstance(label, str):
            raise InvalidInput(f"new_version is {label!r}, but must be a string.")
        await asyncio.wrap_future(self.loop.label(label))
        return web.json_response({"success": True, "new_version": label})

    async def reset_prefix_cache(self, request: web.Request) -> web.Response:
        running_too = _flag(request, "reset_running_requests", default=False)
        return web.json_response({"success": await asyncio.wrap_future(self.loop.reset_cache(running_too=running_too))})


async def _object(request: web.Request) -> dict[str, Any]:
    body = await request.json()
    if not isinstance(body, dict):
        raise InvalidInput(f"the request body is a {type(body).__name__}; it must be a JSON object.")
    return body


def _flag(request: web.Request, name: str, *, default: bool) -> bool:
    return request.query.get(name, str(default)).lower() in {"true", "1"}
