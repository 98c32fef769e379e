"""The coordinator as a process: its routes, and the attempt behind them.

    GET /health  /metrics  /progress  /policies/{label}/{file}

It ends with 0 once the last policy was examined and result.json is there.  Asked to stop (SIGTERM), it ends at once:
what was in flight is generated again by the next attempt.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pydantic
from aiohttp import web

from rlvr_api import RLVRJob, contract
from rlvr_trainer.coordinator.attempt import AskProgress, Attempt, run
from rlvr_trainer.coordinator.rollouts import Pace
from rlvr_trainer.credentials import TokenCheck, credentials_of
from rlvr_trainer.data.prompts import open_prompts
from rlvr_trainer.errors import InvalidInput, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.models.folder import model_folder
from rlvr_trainer.peers import peers_of
from rlvr_trainer.storage.policies import newest_policies
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.transport import make_app, open_client, serving


def main(surroundings: Surroundings) -> None:
    """Run one attempt to its end; InvalidInput when the job, its data or its model cannot work."""
    try:
        asyncio.run(coordinate(surroundings, read_job(surroundings.job)))
    except asyncio.CancelledError:
        raise SystemExit(contract.EXIT_STOPPED) from None
    except BaseExceptionGroup as group:
        raise min(_leaves(group), key=lambda error: not isinstance(error, InvalidInput)) from group


def read_job(path: Path) -> RLVRJob:
    try:
        return RLVRJob.model_validate_json(path.read_bytes())
    except pydantic.ValidationError as error:
        raise InvalidInput(f"{path} is not an RLVRJob: {error}. Check it with `rlvr validate`.") from error


async def coordinate(surroundings: Surroundings, job: RLVRJob, *, pace: Pace | None = None) -> None:
    """Check the job's data, open the routes, and see the attempt through."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    peers = peers_of(surroundings)
    prompts = open_prompts(job, folder=model_folder(job.spec.model))
    board, progress, credentials = Board("rlvr_coordinator_"), loop.create_future(), credentials_of(surroundings)
    app = make_coordinator_app(
        board, check=credentials.check, policies=surroundings.folder / "policies", progress=progress
    )
    async with (
        serving(app, host=surroundings.host, port=surroundings.port) as url,
        open_client(token=credentials.token) as client,
    ):
        attempt = Attempt(
            job=job,
            surroundings=surroundings,
            peers=peers,
            prompts=prompts,
            board=board,
            client=client,
            policies_url=f"{surroundings.public_url or url}/policies",
            pace=pace or Pace(generate=float(job.spec.limits.hang_timeout_seconds)),
        )
        await run(attempt, announce=progress.set_result)


def make_coordinator_app(
    board: Board, *, check: TokenCheck, policies: Path, progress: asyncio.Future[AskProgress]
) -> web.Application:
    """All routes; `policies` is the folder of published policies, `progress` whom to ask once there is somebody."""

    async def health(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def show_progress(_: web.Request) -> web.Response:
        if not progress.done():
            raise Unavailable("the learner has not said yet where this attempt begins")
        body = progress.result()().model_dump_json(by_alias=True, exclude_none=True)
        return web.Response(text=body, content_type="application/json")

    async def policy_file(request: web.Request) -> web.StreamResponse:
        path = published_file(policies, label=request.match_info["label"], name=request.match_info["file"])
        if path is None:
            return web.json_response({"error": f"{request.path} is no file of a published policy"}, status=404)
        return web.FileResponse(path)

    app = make_app(board, check=check)
    app.router.add_get("/health", health)
    app.router.add_get("/progress", show_progress)
    app.router.add_get("/policies/{label}/{file:.+}", policy_file)
    return app


def published_file(policies: Path, *, label: str, name: str) -> Path | None:
    """A file of a published policy, found among those that are there; so no path leads anywhere else."""
    if label not in newest_policies(policies):
        return None
    folder = policies / label
    files = (path for path in folder.rglob("*") if path.is_file())
    return next((path for path in files if path.relative_to(folder).as_posix() == name), None)


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
