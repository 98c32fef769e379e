"""The agent in front of a real engine: policies arrive under load, engines and coordinators die."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from aiohttp import web

from builders import a_job_dict
from engine_fakes import eventually
from reference import load_reference, reference_logprobs
from rlvr_api import contract
from rlvr_trainer.storage.policies import seal_policy
from rlvr_trainer.transport import serving
from role_processes import TOKEN, Role, await_answer, free_port, running
from tiny_models import write_model

PROMPT = [5, 6, 7, 8]
SLOW = {"num_hidden_layers": 6, "hidden_size": 256, "intermediate_size": 512}


@dataclass
class Policies:
    """What a coordinator serves at /policies/{label}/{file}."""

    folder: Path
    url: str = ""
    spoiled: set[str] = field(default_factory=set)

    def publish(self, step: int, *, seed: int) -> str:
        draft = write_model(self.folder / "draft", seed=seed, **SLOW)
        return seal_policy(draft, step=step)

    async def file(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        path = self.folder / request.match_info["label"] / request.match_info["file"]
        data = path.read_bytes()
        return web.Response(body=data[:-1] + bytes([data[-1] ^ 1]) if path.name in self.spoiled else data)


@pytest.fixture
async def policies(tmp_path: Path) -> AsyncIterator[Policies]:
    (tmp_path / "policies").mkdir()
    served = Policies(tmp_path / "policies")
    app = web.Application()
    app.router.add_get("/policies/{label}/{file}", served.file)
    async with serving(app, host="127.0.0.1", port=0) as url:
        served.url = f"{url}/policies"
        yield served


@dataclass
class Pair:
    """An agent and its engine, each of which can be replaced."""

    folder: Path
    job: dict[str, Any]
    stack: ExitStack
    engine_port: int = field(default_factory=free_port)
    roles: dict[str, Role] = field(default_factory=dict)

    @property
    def engine(self) -> Role:
        return self.roles["engine"]

    @property
    def agent(self) -> Role:
        return self.roles["rollout"]

    def start_engine(self) -> None:
        self._start("engine", port=self.engine_port)

    def start_agent(self) -> None:
        self._start("rollout", RLVR_ENGINE=f"http://127.0.0.1:{self.engine_port}")
        await_answer(self.agent)

    def _start(self, role: str, **options: Any) -> None:
        self.roles[role] = self.stack.enter_context(running(role, self.job, self.folder / role, **options))


@pytest.fixture(scope="module")
def engine_and_no_agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    base = write_model(folder / "base", seed=99, **SLOW)
    job = a_job_dict(model={"path": str(base)}, rollout={"engine": "local", "maxConcurrent": 32})
    with ExitStack() as stack:
        pair = Pair(folder, job, stack)
        pair.start_engine()
        await_answer(pair.engine)
        yield pair


@pytest.fixture
def pair(engine_and_no_agent: Pair) -> Iterator[Pair]:
    engine_and_no_agent.start_agent()
    yield engine_and_no_agent
    engine_and_no_agent.agent.kill()


class Coordinator:
    """A client of the agent."""

    def __init__(self, session: aiohttp.ClientSession, pair: Pair, policies: Policies) -> None:
        self.session = session
        self.pair = pair
        self.policies = policies

    async def status(self) -> dict[str, Any]:
        async with self.session.get(self.pair.agent.url + "/status") as reply:
            found: dict[str, Any] = await reply.json()
            return found

    async def until(self, *, state: str) -> dict[str, Any]:
        async def holds() -> bool:
            return (await self.status())["state"] == state

        await eventually(holds)
        return await self.status()

    async def send(self, label: str, *, expect: int = 200) -> Any:
        body = {"label": label, "url": f"{self.policies.url}/{label}"}
        async with self.session.post(self.pair.agent.url + "/policy", json=body) as reply:
            assert reply.status == expect, await reply.text()
            return await reply.json()

    async def sampled_tokens(self) -> float:
        async with self.session.get(self.pair.engine.url + "/metrics") as reply:
            lines = (await reply.text()).splitlines()
        name = "rlvr_engine_generated_tokens_total "
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    async def generate(self, seed: int, *, max_tokens: int = 150, expect: int = 200) -> Any:
        sampling = {"n": 2, "seed": seed, "max_tokens": max_tokens, "logprobs": 1, "ignore_eos": True}
        body = {"token_ids": PROMPT, "sampling_params": sampling, "request_id": f"r{seed}"}
        async with self.session.post(self.pair.agent.url + "/inference/v1/generate", json=body) as reply:
            assert reply.status == expect, await reply.text()
            return await reply.json()


@pytest.fixture
async def coordinator(pair: Pair, policies: Policies) -> AsyncIterator[Coordinator]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=90)) as session:
        yield Coordinator(session, pair, policies)


async def test_a_replica_joins_by_getting_a_policy_and_refuses_work_before(coordinator: Coordinator) -> None:
    label = coordinator.policies.publish(0, seed=0)
    assert await coordinator.status() == {"version": None, "state": "joining"}
    await coordinator.generate(1, expect=503)

    reply = await coordinator.send(label)

    assert reply["label"] == label
    assert reply["fetchSeconds"] > 0
    assert reply["pauseSeconds"] > 0
    assert await coordinator.status() == {"version": label, "state": "ready"}
    again = await coordinator.send(label)
    assert again == {"label": label, "fetchSeconds": 0.0, "pauseSeconds": 0.0, "probeSeconds": 0.0}
    answer = await coordinator.generate(1)
    assert {span["version"] for choice in answer["choices"] for span in choice["weight_versions"]} == {label}


async def test_an_update_under_load_loses_nothing_and_every_range_is_its_own_versions(coordinator: Coordinator) -> None:
    labels = [coordinator.policies.publish(step, seed=step) for step in (0, 1)]
    await coordinator.send(labels[0])
    # 24 groups of 2 on 32 slots: some run, some wait, while the weights change.
    before = await coordinator.sampled_tokens()
    asked = [asyncio.create_task(coordinator.generate(seed, max_tokens=300)) for seed in range(24)]

    async def they_run() -> bool:
        return await coordinator.sampled_tokens() > before + 1000

    await eventually(they_run)

    await coordinator.send(labels[1])
    choices = [choice for reply in await asyncio.gather(*asked) for choice in reply["choices"]]

    assert len(choices) == 48
    models = {label: load_reference(coordinator.policies.folder / label) for label in labels}
    for choice in choices:
        spans = choice["weight_versions"]
        assert [span["start"] for span in spans] == [0, *(span["end"] for span in spans)][:-1]
        assert spans[-1]["end"] == len(choice["token_ids"]) == 300
        logprobs = np.array([entry["logprob"] for entry in choice["logprobs"]["content"]])
        for span in spans:
            expected = reference_logprobs(models[span["version"]], PROMPT, choice["token_ids"])
            part = slice(span["start"], span["end"])
            np.testing.assert_allclose(logprobs[part], expected[part], atol=2e-5, rtol=0)
    mixed = [choice for choice in choices if len(choice["weight_versions"]) == 2]
    assert len(mixed) >= 8


async def test_a_spoiled_policy_changes_nothing(coordinator: Coordinator) -> None:
    labels = [coordinator.policies.publish(step, seed=step) for step in (7, 8)]
    await coordinator.send(labels[0])
    coordinator.policies.spoiled.add("model.safetensors")

    refusal = await coordinator.send(labels[1], expect=400)

    assert "sha256" in refusal["error"]
    assert await coordinator.status() == {"version": labels[0], "state": "ready"}
    coordinator.policies.spoiled.clear()
    await coordinator.send(labels[1])
    assert (await coordinator.status())["version"] == labels[1]


async def test_a_policy_the_engine_cannot_load_leaves_the_replica_dirty_until_a_good_one_comes(
    coordinator: Coordinator,
) -> None:
    good = coordinator.policies.publish(0, seed=0)
    await coordinator.send(good)
    shutil.copytree(coordinator.policies.folder / good, coordinator.policies.folder / "draft")
    for name in ("READY", "manifest.json", "model.safetensors"):
        (coordinator.policies.folder / "draft" / name).unlink()
    bad = seal_policy(coordinator.policies.folder / "draft", step=1)

    await coordinator.send(bad, expect=400)

    assert await coordinator.status() == {"version": None, "state": "dirty"}
    await coordinator.generate(1, expect=503)
    await coordinator.send(good)
    assert (await coordinator.generate(1))["choices"]


async def test_a_replaced_engine_is_noticed_and_filled_again(coordinator: Coordinator) -> None:
    label = coordinator.policies.publish(3, seed=3)
    await coordinator.send(label)
    before = await coordinator.generate(5)
    lost = asyncio.create_task(coordinator.generate(6, max_tokens=500, expect=503))
    await asyncio.sleep(0.1)

    coordinator.pair.engine.kill()
    await lost
    assert await coordinator.until(state="joining") == {"version": None, "state": "joining"}
    coordinator.pair.start_engine()
    await coordinator.send(label)  # waits until the engine listens

    after = await coordinator.generate(5)
    assert after["choices"] == before["choices"]


async def test_a_hung_engine_cuts_its_requests_off(coordinator: Coordinator) -> None:
    label = coordinator.policies.publish(0, seed=0)
    await coordinator.send(label)
    stuck = asyncio.create_task(coordinator.generate(1, max_tokens=500, expect=503))
    await asyncio.sleep(0.1)

    coordinator.pair.engine.process.send_signal(signal.SIGSTOP)
    try:
        await stuck
        assert (await coordinator.status())["state"] == "joining"
    finally:
        coordinator.pair.engine.process.send_signal(signal.SIGCONT)

    assert await coordinator.until(state="ready") == {"version": label, "state": "ready"}


async def test_a_client_that_leaves_frees_its_place(coordinator: Coordinator) -> None:
    label = coordinator.policies.publish(0, seed=0)
    await coordinator.send(label)
    alone = asyncio.create_task(coordinator.generate(1, max_tokens=450))
    await asyncio.sleep(0.3)

    alone.cancel()
    await asyncio.sleep(0.5)

    begun = await coordinator.sampled_tokens()
    await coordinator.generate(2, max_tokens=10)

    async def only_the_second_was_sampled() -> bool:
        return await coordinator.sampled_tokens() == begun + 2 * 10

    await eventually(only_the_second_was_sampled)


async def test_an_agent_that_comes_back_trusts_no_label_it_did_not_install(coordinator: Coordinator) -> None:
    label = coordinator.policies.publish(0, seed=0)
    await coordinator.send(label)
    coordinator.pair.agent.kill()

    coordinator.pair.start_agent()
    await asyncio.sleep(0.2)

    assert await coordinator.status() == {"version": None, "state": "joining"}
    await coordinator.send(label)
    assert (await coordinator.status())["state"] == "ready"


async def test_both_processes_end_when_asked(coordinator: Coordinator) -> None:
    await coordinator.send(coordinator.policies.publish(0, seed=0))
    busy = asyncio.create_task(coordinator.generate(1, max_tokens=400))
    await asyncio.sleep(0.2)

    for role in (coordinator.pair.agent, coordinator.pair.engine):
        role.process.terminate()
        assert await asyncio.to_thread(role.process.wait, 10) == contract.EXIT_STOPPED

    await asyncio.wait([busy])  # answered in the last second or cut off
