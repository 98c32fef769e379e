"""The coordinator as `python -m rlvr_trainer coordinator` starts it: exit codes, signals, and /progress."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from builders import a_job_dict
from fakes import TOKEN, FakeLearner, FakeReward, FakeRollout, by_first_digit, running
from rlvr_api import contract

TRAINING = {"steps": 3, "promptsPerStep": 4, "groupSize": 4}
NOBODY = "http://127.0.0.1:9"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@asynccontextmanager
async def a_coordinator(
    folder: Path,
    job: dict[str, Any],
    *,
    rollout: str = "http://127.0.0.1:9",
    reward: str = "http://127.0.0.1:9",
    port: int = 0,
) -> AsyncIterator[Process]:
    """The process, killed at the end if it is still there."""
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "token").write_text(TOKEN)
    environment = {
        "RLVR_JOB": str(folder / "job.json"),
        "RLVR_DIR": str(folder),
        "RLVR_TOKEN_FILE": str(folder / "token"),
        "RLVR_ROLLOUTS": rollout,
        "RLVR_REWARDS": reward,
        "RLVR_PORT": str(port),
    }
    command = (sys.executable, "-m", "rlvr_trainer", "coordinator")
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **environment}, stdin=DEVNULL, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_it_ends_with_zero_and_a_result(tmp_path: Path) -> None:
    job = a_job_dict(training=TRAINING)
    async with (
        running(FakeRollout().app(), FakeReward(by_first_digit).app()) as (rollout, reward),
        a_coordinator(tmp_path, job, rollout=rollout, reward=reward) as process,
    ):
        await FakeLearner(tmp_path).train(steps=3)
        assert await asyncio.wait_for(process.wait(), 90) == 0

    assert json.loads((tmp_path / "result.json").read_bytes())["trained"] == 12


async def test_asked_to_stop_it_ends_at_once(tmp_path: Path) -> None:
    job = a_job_dict(training=TRAINING)
    async with (
        running(FakeRollout(seconds=60).app(), FakeReward(by_first_digit).app()) as (rollout, reward),
        a_coordinator(tmp_path, job, rollout=rollout, reward=reward) as process,
    ):
        training = asyncio.create_task(FakeLearner(tmp_path).train(steps=3))
        await asyncio.wait_for(said(process, b"the learner begins after step 0 of 3"), 90)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == contract.EXIT_STOPPED
        training.cancel()


async def test_data_that_cannot_work_ends_it_with_64(tmp_path: Path) -> None:
    job = a_job_dict(data={"train": {"file": {"path": "/nowhere.jsonl"}}})
    async with a_coordinator(tmp_path, job) as process:
        _, output = await asyncio.wait_for(process.communicate(), 90)

    assert process.returncode == 64
    assert "spec.data.train.file.path '/nowhere.jsonl' is not a file here" in output.decode()
    assert "Traceback" not in output.decode()


async def test_progress_and_metrics_are_told_while_it_runs(tmp_path: Path, unused_tcp_port: int) -> None:
    url, job = f"http://127.0.0.1:{unused_tcp_port}", a_job_dict(training=TRAINING)
    async with (
        running(FakeRollout().app(), FakeReward(by_first_digit).app()) as (rollout, reward),
        a_coordinator(tmp_path, job, rollout=rollout, reward=reward, port=unused_tcp_port) as process,
        aiohttp.ClientSession(headers=BEARER) as session,
    ):
        training = asyncio.create_task(FakeLearner(tmp_path, seconds=1.0).train(steps=3))
        progress = await ask_until(session, f"{url}/progress", '"reward"')
        await ask_until(session, f"{url}/metrics", 'rlvr_coordinator_rollouts{state="ready"} 1.0')
        assert await asyncio.wait_for(process.wait(), 90) == 0
        await training

    assert json.loads(progress)["reward"] >= 1.0
    assert json.loads(progress)["totalSteps"] == 3


async def said(process: Process, words: bytes) -> None:
    """Wait until the process has said `words`."""
    assert process.stderr is not None
    while words not in await process.stderr.readline():
        pass


async def ask_until(session: aiohttp.ClientSession, url: str, words: str) -> str:
    """The first reply that contains `words`."""
    async with asyncio.timeout(90):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as reply:
                    text = await reply.text()
                if words in text:
                    return text
            await asyncio.sleep(0.02)
