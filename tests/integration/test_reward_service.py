"""The reward service over HTTP, with verifiers that spin, crash, hoard memory and fork."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rlvr_api import contract
from rlvr_api.reward import CustomVerifier, ExactVerifier, FormatVerifier, RewardSpec, VerifierSpec
from rlvr_trainer.credentials import shared
from rlvr_trainer.errors import InvalidInput, TrainerError, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.reward.pool import Limits, open_pool
from rlvr_trainer.reward.service import limits_of, reward_app, setup_of
from rlvr_trainer.transport import Client, open_client, serving

EXACT = VerifierSpec(exact=ExactVerifier(answer_after="#"))
HOSTILE = VerifierSpec(custom=CustomVerifier(import_path="hostile_verifiers:verify"))


@dataclass(frozen=True, slots=True)
class Service:
    """A running service and a client for it."""

    url: str
    client: Client

    async def score(self, *texts: str, answer: str = "7", finish: str = "stop") -> list[dict[str, Any]]:
        items = [
            {"id": f"item-{index}", "text": text, "finish": finish, "task": {"answer": answer}}
            for index, text in enumerate(texts)
        ]
        reply = await self.client.post(f"{self.url}/score", {"items": items}, deadline=60)
        verdicts: list[dict[str, Any]] = reply["verdicts"]
        assert [verdict["id"] for verdict in verdicts] == [item["id"] for item in items]
        return verdicts

    async def outcomes(self, *texts: str) -> list[str]:
        return [verdict["outcome"] for verdict in await self.score(*texts)]

    async def metrics(self) -> str:
        async with self.client.session.get(f"{self.url}/metrics") as reply:
            return await reply.text()


@asynccontextmanager
async def a_service(*verifiers: VerifierSpec, limits: Limits | None = None) -> AsyncIterator[Service]:
    reward = RewardSpec(verifiers=verifiers, workers=2, timeout_seconds=1.0)
    board, setup = Board(), msgspec.structs.replace(setup_of(reward), memory_bytes=2**28)
    async with open_pool(setup, limits=limits or limits_of(reward), board=board) as pool:
        app = reward_app(pool, board, check=shared(lambda: "secret"))
        async with serving(app, host="127.0.0.1", port=0) as url, open_client(token=lambda: "secret") as client:
            yield Service(url, client)


async def test_a_batch_comes_back_judged_in_order() -> None:
    async with a_service(EXACT) as service:
        assert await service.outcomes("so #7", "so #8", "no marker") == ["correct", "wrong", "malformed"]
        truncated = await service.score("no marker", finish="length")
        metrics = await service.metrics()

    assert truncated == [
        {"id": "item-0", "outcome": "truncated", "score": 0.0, "reason": "there is no '#' before the answer"}
    ]
    assert 'rlvr_reward_verdicts_total{outcome="correct",verifier="exact"} 1.0' in metrics
    assert 'rlvr_reward_verify_seconds_count{verifier="exact"} 4.0' in metrics


async def test_items_that_find_every_worker_busy_are_seen_to_wait() -> None:
    async with a_service(HOSTILE) as service, asyncio.TaskGroup() as tasks:
        tasks.create_task(service.score("spin", "spin"))
        await seen(service, "rlvr_reward_queue_items 0.0")
        tasks.create_task(service.score("fine", "fine", "fine"))
        await seen(service, "rlvr_reward_queue_items 3.0")
        await seen(service, "rlvr_reward_queue_items 0.0")


async def seen(service: Service, line: str) -> None:
    for _ in range(1000):
        if line in await service.metrics():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never seen: {line}")


@pytest.mark.parametrize("text", ["spin", "power", "stop"])
async def test_a_verifier_that_never_returns_is_killed_at_its_deadline(text: str) -> None:
    async with a_service(HOSTILE, limits=Limits(num_workers=1, deadline_seconds=1.0)) as service:
        (failed,) = await service.score(text)
        assert (failed["outcome"], failed["score"], failed["reason"]) == ("error", None, "deadline of 1 s exceeded")
        assert 'rlvr_reward_workers_killed_total{reason="deadline"}' in await service.metrics()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("exit 3", "the verifier's process ended with exit code 3"),
        ("exit 0", "the verifier's process ended with exit code 0"),
        ("kill", "the verifier's process was ended by SIGKILL"),
        ("forge", "the verifier's process was ended by SIGKILL: the worker sent something else"),
        ("allocate", "MemoryError"),
        ("hoard", "MemoryError"),
        ("print noise", "RuntimeError: noise"),
        ("odd thing", "TypeError: it returned 'thing'"),
    ],
)
async def test_a_verifier_that_fails_gives_an_error_without_a_score(text: str, reason: str) -> None:
    async with a_service(HOSTILE, limits=Limits(num_workers=1, deadline_seconds=60.0)) as service:
        before, failed, after = await service.score("7", text, "7")

    assert (failed["outcome"], failed["score"]) == ("error", None)
    assert reason in failed["reason"]
    assert (before["outcome"], after["outcome"]) == ("correct", "correct")


async def test_a_worker_that_dies_between_items_costs_no_verdict() -> None:
    async with a_service(EXACT) as service:
        workers = [pid for pid in children_of(os.getpid()) if "rlvr_trainer.reward.worker" in command_of(pid)]
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert eventually_gone(workers)

        assert len(workers) == 2
        assert await service.outcomes("#7", "#7", "#8") == ["correct", "correct", "wrong"]


@pytest.mark.parametrize("how", ["fork", "leave"])
async def test_what_a_killed_verifier_started_dies_with_it(how: str, tmp_path: Path) -> None:
    async with a_service(HOSTILE) as service:
        started = time.monotonic()
        (verdict,) = await service.score(f"{how} {tmp_path}/pid")
        assert verdict["reason"] == "deadline of 1 s exceeded"
        assert time.monotonic() - started < 1.5
        assert await service.outcomes("7") == ["correct"]
        assert eventually_gone([int((tmp_path / "pid").read_text())])


async def test_a_verifier_that_returns_twice_is_heard_once() -> None:
    async with a_service(HOSTILE) as service:
        assert await service.outcomes("return-twice", "7", "8", "7") == ["correct", "correct", "wrong", "correct"]


async def test_a_worker_knows_no_credentials() -> None:
    with_secret = {"AWS_SECRET_ACCESS_KEY": "secret"}
    os.environ.update(with_secret)
    try:
        async with a_service(HOSTILE) as service:
            assert await service.outcomes("environment AWS_SECRET_ACCESS_KEY", "environment PATH") == [
                "wrong",
                "correct",
            ]
    finally:
        del os.environ["AWS_SECRET_ACCESS_KEY"]


async def test_a_thousand_concurrent_items_lose_none_though_some_are_hostile() -> None:
    async with a_service(HOSTILE) as service:
        texts = ["7", "8", "exit 1", "7", "odd x", "7", "8", "7", "7", "7"]
        answers = await asyncio.gather(*(service.score(*texts) for _ in range(10)))
        plain = await asyncio.gather(*(service.score(*(["7", "8"] * 5)) for _ in range(90)))
        health = await service.client.get(f"{service.url}/health", deadline=5)
        metrics = await service.metrics()

    verdicts = [verdict for batch in [*answers, *plain] for verdict in batch]
    assert len(verdicts) == 1000
    assert all((verdict["outcome"] == "error") == (verdict["score"] is None) for verdict in verdicts)
    assert sum(verdict["outcome"] == "error" for verdict in verdicts) == 20
    assert health == {"status": "ok"}
    assert 'rlvr_reward_workers_killed_total{reason="crash"} 10.0' in metrics


async def test_a_full_queue_is_refused_and_taken_later() -> None:
    limits = Limits(num_workers=1, deadline_seconds=5, most_waiting=4)
    async with a_service(HOSTILE, limits=limits) as service:
        busy = asyncio.create_task(service.score("sleep 0.5"))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(service.score("7", "7", "7", "7"))
        await asyncio.sleep(0.1)
        item = {"id": "0", "text": "7", "finish": "stop", "task": {"answer": "7"}}
        with pytest.raises(Unavailable, match="4 items are waiting"):
            await service.client.post(f"{service.url}/score", {"items": [item]}, deadline=0.1)

        assert await service.outcomes("7") == ["correct"]
        with pytest.raises(TrainerError, match="at most 4"):
            await service.client.post(f"{service.url}/score", {"items": [item] * 5}, deadline=5)
        assert [len(await task) for task in (busy, waiting)] == [1, 4]


async def test_an_endless_completion_is_malformed_unread() -> None:
    limits = Limits(num_workers=1, deadline_seconds=5, most_characters=100)
    async with a_service(HOSTILE, limits=limits) as service:
        (verdict,) = await service.score("spin" + "x" * 100)

    assert (verdict["outcome"], verdict["score"]) == ("malformed", 0.0)


@pytest.mark.parametrize("body", [{}, {"items": [{"id": "0"}]}, {"items": 7}, "text"])
async def test_a_request_that_is_none_is_refused_and_nothing_breaks(body: Any) -> None:
    async with a_service(EXACT) as service:
        with pytest.raises(TrainerError, match="400"):
            await service.client.post(f"{service.url}/score", body, deadline=5)
        assert await service.outcomes("#7") == ["correct"]


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (VerifierSpec(format=FormatVerifier(pattern="(#")), r"format.pattern '\(#' is not a regular expression"),
        (VerifierSpec(custom=CustomVerifier(import_path="absent:verify")), "cannot be imported"),
    ],
)
async def test_a_verifier_that_cannot_work_ends_the_service_at_the_start(spec: VerifierSpec, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        async with a_service(EXACT, spec):
            pass


def test_the_role_serves_until_asked_to_stop_and_its_workers_die_with_it(tmp_path: Path) -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        with a_role(tmp_path) as process:
            assert process.stderr is not None
            line = process.stderr.readline()
            assert "judging at http://127.0.0.1:" in line
            workers = children_of(process.pid)
            assert len(workers) == 2
            process.send_signal(how)
            process.wait(timeout=10)
        assert process.returncode == (contract.EXIT_STOPPED if how is signal.SIGTERM else -9)
        assert eventually_gone(workers)


JOB = """
{"apiVersion": "rlvr.dev/v1alpha1", "kind": "RLVRJob", "metadata": {"name": "judged"}, "spec": {
  "model": {"builtin": "arithmetic"},
  "data": {"train": {"procedural": {"task": "chain_sum", "size": 10}, "template": {"plain": {"text": "{question}"}}}},
  "algorithm": {"preset": "grpo"}, "training": {"steps": 1},
  "reward": {"verifiers": [{"exact": {"answerAfter": "#"}}], "workers": 2}}}
"""


def a_role(folder: Path) -> subprocess.Popen[str]:
    (folder / "job.json").write_text(JOB)
    (folder / "token").write_text("secret")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RLVR_JOB": f"{folder}/job.json",
        "RLVR_DIR": str(folder),
        "RLVR_TOKEN_FILE": f"{folder}/token",
    }
    command = [sys.executable, "-m", "rlvr_trainer", "reward"]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def children_of(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")


def eventually_gone(pids: list[int]) -> bool:
    ends = time.monotonic() + 5
    while any(map(is_running, pids)) and time.monotonic() < ends:
        time.sleep(0.02)
    return not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
