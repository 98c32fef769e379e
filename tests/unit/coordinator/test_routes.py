"""What the coordinator serves, to whom, and what it never serves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from yarl import URL

from fakes import TOKEN
from rlvr_api import Progress
from rlvr_trainer.coordinator.app import make_coordinator_app, published_file, read_job
from rlvr_trainer.coordinator.attempt import AskProgress
from rlvr_trainer.credentials import shared
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.metrics import Board
from rlvr_trainer.storage.policies import seal_policy
from rlvr_trainer.transport import serving

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def policies(tmp_path: Path) -> Path:
    """A folder of one sealed policy and of things that are none."""
    folder = tmp_path / "policies"
    (folder / "draft" / "adapter").mkdir(parents=True)
    (folder / "draft" / "config.json").write_text("{}")
    (folder / "draft" / "adapter" / "adapter_config.json").write_text("[]")
    seal_policy(folder / "draft", step=3)
    (folder / "9-aaaaaaaaaaaa").mkdir()
    (folder / "9-aaaaaaaaaaaa" / "config.json").write_text("unfinished")
    (tmp_path / "token").write_text("secret")
    return folder


@asynccontextmanager
async def a_coordinator(policies: Path, progress: asyncio.Future[AskProgress]) -> AsyncIterator[aiohttp.ClientSession]:
    app = make_coordinator_app(Board(), check=shared(lambda: TOKEN), policies=policies, progress=progress)
    async with serving(app, host="127.0.0.1", port=0) as url, aiohttp.ClientSession(url, headers=BEARER) as session:
        yield session


async def status_of(session: aiohttp.ClientSession, path: str) -> int:
    async with session.get(URL(path, encoded=True)) as reply:
        return reply.status


def label_in(policies: Path) -> str:
    return next(path.parent.name for path in policies.glob("*/READY"))


async def test_a_published_policy_is_served_file_by_file(policies: Path) -> None:
    async with a_coordinator(policies, asyncio.Future()) as session:
        async with session.get(f"/policies/{label_in(policies)}/config.json") as reply:
            assert (reply.status, await reply.text()) == (200, "{}")
        async with session.get(f"/policies/{label_in(policies)}/adapter/adapter_config.json") as reply:
            assert (reply.status, await reply.text()) == (200, "[]")
        assert await status_of(session, f"/policies/{label_in(policies)}/manifest.json") == 200
        assert await status_of(session, f"/policies/{label_in(policies)}/adapter") == 404
        assert await status_of(session, "/policies/9-aaaaaaaaaaaa/config.json") == 404


async def test_no_path_leads_out_of_the_policies(policies: Path) -> None:
    label = label_in(policies)
    traversals = [
        f"{label}/..%2F..%2Ftoken",
        f"{label}/adapter/..%2F..%2F..%2Ftoken",
        "%2E%2E/token",
        f"{label}/%2E%2E",
        f"{label}%2F..%2F..%2Ftoken/x",
    ]

    async with a_coordinator(policies, asyncio.Future()) as session:
        assert {await status_of(session, f"/policies/{path}") for path in traversals} == {404}
    for name in ("../../token", "adapter/../config.json", "/etc/passwd", "..", ""):
        assert published_file(policies, label=label, name=name) is None
    assert published_file(policies, label="../policies", name="config.json") is None


async def test_every_route_but_health_and_metrics_wants_the_token(policies: Path) -> None:
    async with a_coordinator(policies, asyncio.Future()) as session:
        session.headers.clear()  # type: ignore[attr-defined]
        paths = ("/health", "/metrics", "/progress", f"/policies/{label_in(policies)}/config.json")
        assert [await status_of(session, path) for path in paths] == [200, 200, 401, 401]


async def test_progress_is_unavailable_until_the_learner_has_spoken(policies: Path) -> None:
    progress: asyncio.Future[AskProgress] = asyncio.Future()

    async with a_coordinator(policies, progress) as session:
        assert await status_of(session, "/progress") == 503
        progress.set_result(lambda: Progress(attempt=2, step=3, total_steps=9, updated_at=1.0))
        async with session.get("/progress") as reply:
            assert await reply.json() == Progress(attempt=2, step=3, total_steps=9, updated_at=1.0).model_dump(
                by_alias=True, exclude_none=True
            )


def test_a_file_that_is_no_job_is_named(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text('{"kind": "Pod"}')

    with pytest.raises(InvalidInput, match=r"job\.json is not an RLVRJob"):
        read_job(tmp_path / "job.json")
