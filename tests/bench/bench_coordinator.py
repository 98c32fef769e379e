"""How much goes through one coordinator: 64 simulated replicas, 4,096 requests in flight.

    python tests/bench/bench_coordinator.py [--replicas 64] [--requests 4096] [--seconds 60] [--group-seconds 30 10 0]

The coordinator is the real process.  Replicas, judge and learner are simulated in others: a replica answers every
request after so many seconds, a learner takes no time.  With fewer seconds a group the same requests in flight are more
requests a second; at 0 the coordinator, or the simulation on the same cores, is saturated: `processorShare` (of one
core, which is all a coordinator can use) tells which.  One line of JSON for each, and one with all last.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from builders import a_job_dict
from fakes import END, FIRST_DIGIT, FakeLearner, FakeReward, by_first_digit, running
from role_processes import TOKEN, await_answer
from role_processes import running as running_role

COMPLETIONS, TOKENS, STALENESS, STEPS = 4, 32, 3, 100_000
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Crowd:
    """All replicas of a job: what they hold, what they gave."""

    seconds: float
    labels: dict[int, str] = field(default_factory=dict)
    """Port -> policy."""
    in_flight: int = 0
    served: int = 0
    """Groups answered."""

    def app(self) -> web.Application:
        app = web.Application(client_max_size=2**28)
        app.router.add_get("/status", self.status)
        app.router.add_post("/policy", self.policy)
        app.router.add_post("/inference/v1/generate", self.generate)
        return app

    async def status(self, request: web.Request) -> web.Response:
        label = self.labels.get(_port(request))
        return web.json_response({"version": label, "state": "ready" if label else "joining"})

    async def policy(self, request: web.Request) -> web.Response:
        self.labels[_port(request)] = (await request.json())["label"]
        return web.json_response({})

    async def generate(self, request: web.Request) -> web.Response:
        await request.read()
        label = self.labels[_port(request)]
        self.in_flight += 1
        await asyncio.sleep(self.seconds)
        self.in_flight -= 1
        self.served += 1
        return web.json_response(
            {"request_id": "r", "choices": [_choice(index, label) for index in range(COMPLETIONS)]}
        )


def _port(request: web.Request) -> int:
    assert request.transport is not None
    port: int = request.transport.get_extra_info("sockname")[1]
    return port


def _choice(index: int, label: str) -> dict[str, Any]:
    tokens = [FIRST_DIGIT + index] * (TOKENS - 1) + [END]
    return {
        "index": index,
        "token_ids": tokens,
        "finish_reason": "stop",
        "logprobs": {"content": [{"token_id": token, "logprob": -0.5} for token in tokens]},
        "weight_versions": [{"version": label, "start": 0, "end": TOKENS}],
    }


def world(pipe: Connection, num_replicas: int, seconds: float) -> None:
    """Replicas and a judge in a process of their own; answers every message with (in flight, served)."""
    asyncio.run(_world(pipe, num_replicas, seconds))


async def _world(pipe: Connection, num_replicas: int, seconds: float) -> None:
    crowd = Crowd(seconds)
    async with running(FakeReward(by_first_digit).app(), *(crowd.app() for _ in range(num_replicas))) as urls:
        pipe.send(list(urls))
        while await asyncio.to_thread(pipe.recv):
            pipe.send((crowd.in_flight, crowd.served))


def a_large_job(requests: int) -> dict[str, Any]:
    return a_job_dict(
        algorithm={"preset": "grpo"},
        training={
            "steps": STEPS,
            "promptsPerStep": requests // (1 + STALENESS),
            "groupSize": COMPLETIONS,
            "maxStaleness": STALENESS,
        },
        data={"train": {"procedural": {"task": "chain_sum", "size": 20_000, "seed": 1}}},
        rollout={"engine": "local", "maxConcurrent": requests, "sampling": {"maxTokens": 64}},
    )


def processor_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def memory_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def ask(pipe: Connection) -> tuple[int, int]:
    pipe.send(True)
    found: tuple[int, int] = pipe.recv()
    return found


async def measured(pipe: Connection, pid: int, *, requests: int, seconds: float) -> dict[str, Any]:
    """From when all requests are in flight, or have been for a moment, for so many seconds."""
    ends = time.monotonic() + 120
    most = 0
    while most < requests and time.monotonic() < ends and ask(pipe)[1] < 4 * requests:
        most = max(most, ask(pipe)[0])
        await asyncio.sleep(0.2)
    began, used, served = time.monotonic(), processor_seconds(pid), ask(pipe)[1]
    while time.monotonic() < began + seconds:
        await asyncio.sleep(0.5)
        most = max(most, ask(pipe)[0])
    wall, busy = time.monotonic() - began, processor_seconds(pid) - used
    tokens = (ask(pipe)[1] - served) * COMPLETIONS * TOKENS
    return {
        "mostInFlight": most,
        "tokensPerSecond": round(tokens / wall),
        "processorShare": round(busy / wall, 3),
        "tokensPerProcessorSecond": round(tokens / busy) if busy else None,
        "memoryMegabytes": round(memory_bytes(pid) / 2**20),
    }


async def one(folder: Path, options: argparse.Namespace, group_seconds: float) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=world, args=(theirs, options.replicas, group_seconds), daemon=True)
    process.start()
    reward, *rollouts = await asyncio.to_thread(pipe.recv)
    places = {"RLVR_ROLLOUTS": ",".join(rollouts), "RLVR_REWARDS": reward}
    try:
        with running_role("coordinator", a_large_job(options.requests), folder, **places) as coordinator:
            training = asyncio.create_task(FakeLearner(folder).train(steps=STEPS))
            await asyncio.to_thread(await_answer, coordinator)
            row = await measured(pipe, coordinator.process.pid, requests=options.requests, seconds=options.seconds)
            await ask_progress(coordinator.url)
            training.cancel()
    finally:
        process.kill()
    return {"groupSeconds": group_seconds, **row}


async def ask_progress(url: str) -> None:
    """It still answers the operator while all this goes on."""
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(headers=bearer) as session, session.get(f"{url}/progress") as reply:
        assert reply.status == 200, await reply.text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicas", type=int, default=64)
    parser.add_argument("--requests", type=int, default=4096)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--group-seconds", type=float, nargs="+", default=[30.0, 10.0, 0.0])
    options = parser.parse_args()
    rows = []
    for number, group_seconds in enumerate(options.group_seconds):
        with tempfile.TemporaryDirectory(prefix="rlvr-coordinator-") as scratch:
            rows.append(asyncio.run(one(Path(scratch) / str(number), options, group_seconds)))
        print(json.dumps(rows[-1]), flush=True)
    fastest = max(rows, key=lambda row: row["tokensPerSecond"])
    print(json.dumps({"replicas": options.replicas, "requests": options.requests, "fastest": fastest, "runs": rows}))


if __name__ == "__main__":
    main()
