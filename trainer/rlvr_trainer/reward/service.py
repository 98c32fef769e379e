"""The reward role: POST /score takes a batch of completions and answers with one verdict each.

    {"items": [{"id", "text", "finish", "task": {"answer", "source", "metadata"}}]}
    -> {"verdicts": [{"id", "outcome", "score", "reason"}]}

503 means that the queue is full: ask again after Retry-After.  Verdicts are not remembered; asking twice judges twice.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import Final

import msgspec
from aiohttp import web

from rlvr_api import contract
from rlvr_api.job import RLVRJob
from rlvr_api.reward import RewardSpec
from rlvr_trainer.credentials import TokenCheck, credentials_of
from rlvr_trainer.jail.boundary import open_jail
from rlvr_trainer.metrics import Board
from rlvr_trainer.reward.frames import Item, Setup
from rlvr_trainer.reward.pool import Limits, Pool, open_pool
from rlvr_trainer.samples import Outcome, Verdict
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.transport import make_app, serving
from rlvr_trainer.wire import from_json, to_json

logger = logging.getLogger(__name__)
_WORKER_MEMORY_BYTES: Final = 2 * 2**30


class ScoreRequest(msgspec.Struct, frozen=True):
    """Body of POST /score."""

    items: tuple[Item, ...]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One verdict, with the id it was asked under."""

    id: str
    outcome: Outcome
    score: float | None
    reason: str


class ScoreReply(msgspec.Struct, frozen=True):
    """Answer to POST /score; verdicts are in the order of the items."""

    verdicts: tuple[Answer, ...]


def main(surroundings: Surroundings) -> None:
    """Serve verdicts until SIGTERM."""
    job = RLVRJob.model_validate_json(surroundings.job.read_bytes())
    asyncio.run(serve(surroundings, job.spec.reward))
    raise SystemExit(contract.EXIT_STOPPED)


async def serve(surroundings: Surroundings, reward: RewardSpec) -> None:
    """Listen once every worker is ready; InvalidInput when a verifier cannot work here."""
    board, stop = Board("rlvr_reward_"), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    if any(spec.code is not None for spec in reward.verifiers):
        await asyncio.to_thread(look_at_jail, board)
    async with open_pool(setup_of(reward), limits=limits_of(reward), board=board) as pool:
        app = reward_app(pool, board, check=credentials_of(surroundings).check)
        async with serving(app, host=surroundings.host, port=surroundings.port) as url:
            logger.info("judging at %s with %d workers", url, reward.workers)
            await stop.wait()


def look_at_jail(board: Board) -> None:
    """Say once what the jail of model-written code has here and lacks; InvalidInput when that is too little."""
    with open_jail() as jail:
        layers = jail.found.layers
    for name, is_here in layers.items():
        board.set("rlvr_reward_jail_layer", is_here, layer=name)
    lacking = ", ".join(name for name, is_here in layers.items() if not is_here) or "nothing"
    logger.info("the jail has %s; it lacks %s", ", ".join(name for name, is_here in layers.items() if is_here), lacking)


def setup_of(reward: RewardSpec) -> Setup:
    specs = tuple(spec.model_dump_json(exclude_none=True) for spec in reward.verifiers)
    return Setup(verifiers=specs, memory_bytes=_WORKER_MEMORY_BYTES, deadline_seconds=reward.timeout_seconds)


def limits_of(reward: RewardSpec) -> Limits:
    return Limits(num_workers=reward.workers, deadline_seconds=reward.timeout_seconds)


def reward_app(pool: Pool, board: Board, *, check: TokenCheck | None) -> web.Application:
    """The routes over a pool."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def score(request: web.Request) -> web.Response:
        items = from_json(await request.read(), ScoreRequest).items
        verdicts = await pool.judge(items)
        reply = ScoreReply(tuple(map(_answer, items, verdicts)))
        return web.Response(body=to_json(reply), content_type="application/json")

    app = make_app(board, check=check)
    app.router.add_get("/health", health)
    app.router.add_post("/score", score)
    return app


def _answer(item: Item, verdict: Verdict) -> Answer:
    return Answer(id=item.id, outcome=verdict.outcome, score=verdict.score, reason=verdict.reason)
