"""The coordinator as `python -m rlvr_trainer coordinator` starts it: exit codes, signals, and /progress."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

import aiohttp

from builders import a_job_dict
from fakes import TOKEN, FakeLearner, FakeReward, FakeRollout, by_first_digit, running

TRAINING = {"steps": 3, "promptsPerStep": 4, "groupSize": 4}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


async def start(folder: Path, job: dict[str, Any], *, rollout: str, reward: str, port: int = 0) -> Process:
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
    return await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment}, stdin=DEVNULL, stderr=PIPE)


async def test_it_ends_with_zero_and_a_result(tmp_path: Path) -> None:
    async with running(FakeRollout().app(), FakeReward(by_first_digit).app()) as (rollout, reward):
        process = await start(tmp_path, a_job_dict(training=TRAINING), rollout=rollout, reward=reward)
        await FakeLearner(tmp_path).train(steps=3)
        assert await asyncio.wait_for(process.wait(), 30) == 0

    assert json.loads((tmp_path / "result.json").read_bytes())["trained"] == 12


async def test_asked_to_stop_it_ends_at_once(tmp_path: Path) -> None:
    async with running(FakeRollout(seconds=60).app(), FakeReward(by_first_digit).app()) as (rollout, reward):
        process = await start(tmp_path, a_job_dict(training=TRAINING), rollout=rollout, reward=reward)
        training = asyncio.create_task(FakeLearner(tmp_path).train(steps=3))
        assert process.stderr is not None
        assert b"the learner begins after step 0 of 3" in await asyncio.wait_for(process.stderr.readline(), 30)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 5) == 128 + signal.SIGTERM
        training.cancel()


async def test_data_that_cannot_work_ends_it_with_64(tmp_path: Path) -> None:
    data = {"train": {"file": {"path": "/nowhere.jsonl"}}}
    process = await start(tmp_path, a_job_dict(data=data), rollout="http://127.0.0.1:9", reward="http://127.0.0.1:9")

    _, said = await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == 64
    assert "spec.data.train.file.path '/nowhere.jsonl' is not a file here" in said.decode()
    assert "Traceback" not in said.decode()


async def test_progress_and_metrics_are_told_while_it_runs(tmp_path: Path, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    job = a_job_dict(training=TRAINING)
    async with running(FakeRollout().app(), FakeReward(by_first_digit).app()) as (rollout, reward):
        process = await start(tmp_path, job, rollout=rollout, reward=reward, port=unused_tcp_port)
        training = asyncio.create_task(FakeLearner(tmp_path, seconds=1.0).train(steps=3))
        async with aiohttp.ClientSession(headers=BEARER) as session:
            progress = await ask_until(session, f"{url}/progress", lambda text: '"reward"' in text)
            metrics = await ask_until(session, f"{url}/metrics", lambda _: True)
        assert await asyncio.wait_for(process.wait(), 30) == 0
        await training

    assert json.loads(progress)["reward"] >= 1.0
    assert json.loads(progress)["totalSteps"] == 3
    assert 'rlvr_coordinator_rollouts{state="ready"} 1.0' in metrics


async def ask_until(session: aiohttp.ClientSession, url: str, is_enough: Any) -> str:
    async with asyncio.timeout(30):
        while True:
            try:
                async with session.get(url) as reply:
                    text = await reply.text()
            except aiohttp.ClientError:
                text = ""
            if text and is_enough(text):
                return text
            await asyncio.sleep(0.02)
