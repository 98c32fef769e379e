"""The contract of an engine's routes, against real server processes: the local engine and vLLM.

`make contract ENGINE=vllm` (or local) asks one of them.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest

from builders import a_job_dict
from reference import load_reference, reference_logprobs
from rlvr_trainer.rollout.engine import EngineControl, Patience
from rlvr_trainer.storage.signatures import fixed_tokens
from rlvr_trainer.transport import open_client
from role_processes import await_answer, running
from tiny_models import VOCABULARY, write_model
from vllm_server import PATIENCE, Served, a_vllm

pytestmark = pytest.mark.timeout(PATIENCE)
ENGINES = os.environ.get("RLVR_TEST_ENGINES", "local vllm").split()
LONG = 400
PROMPT = [5, 6, 7, 8]


@pytest.fixture(scope="module", params=ENGINES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("engine")
    if request.param == "vllm":
        with a_vllm(folder, max_concurrent=16) as served:
            yield served
        return
    policies = [write_model(folder / f"p{seed}", seed=seed) for seed in (0, 1)]
    job = a_job_dict(model={"path": str(policies[0])}, rollout={"engine": "local", "maxConcurrent": 16})
    with running("engine", job, folder) as role:
        await_answer(role)
        yield Served(role, (policies[0], policies[1]))


class Engine:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session = session
        self.url = url

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    async def post(self, path: str, body: Any = None, *, expect: int = 200) -> Any:
        async with self.session.post(self.url + path, json=body) as reply:
            assert reply.status == expect, await reply.text()
            return await reply.json()

    async def generate(self, *, request_id: str | None = None, expect: int = 200, **sampling: Any) -> Any:
        params = {"n": 1, "seed": 1, "max_tokens": 16, "logprobs": 1, "detokenize": False} | sampling
        body = {"token_ids": PROMPT, "sampling_params": params} | ({"request_id": request_id} if request_id else {})
        return await self.post("/inference/v1/generate", body, expect=expect)

    async def load(self, policy: Path, label: str) -> None:
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(policy)}}
        assert await self.post("/collective_rpc", body) == {"results": [None]}
        assert await self.post("/update_weight_version", {"new_version": label}) == {
            "success": True,
            "new_version": label,
        }


@pytest.fixture
async def engine(served: Served) -> AsyncIterator[Engine]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        engine = Engine(session, served.role.url)
        yield engine
        await engine.post("/resume")  # whatever the test left behind


def tokens_and_logprobs(reply: Any) -> list[tuple[list[int], list[float]]]:
    return [
        (choice["token_ids"], [entry["logprob"] for entry in choice["logprobs"]["content"]])
        for choice in reply["choices"]
    ]


async def test_a_fresh_engine_serves_the_version_named_default(engine: Engine) -> None:
    assert await engine.get("/weight_info") == {"weight_version": "default"}
    assert "version" in await engine.get("/version")


async def test_health_and_metrics_answer(engine: Engine) -> None:
    for path in ("/health", "/metrics"):
        async with engine.session.get(engine.url + path) as reply:
            assert reply.status == 200


async def test_every_completion_has_tokens_a_logprob_each_and_one_version(engine: Engine) -> None:
    reply = await engine.generate(n=3, max_tokens=20)

    assert [choice["index"] for choice in reply["choices"]] == [0, 1, 2]
    for choice in reply["choices"]:
        size = len(choice["token_ids"])
        assert [entry["token_id"] for entry in choice["logprobs"]["content"]] == choice["token_ids"]
        assert all(entry["logprob"] <= 0 for entry in choice["logprobs"]["content"])
        assert choice["weight_versions"] == [{"version": "default", "start": 0, "end": size}]
        assert choice["finish_reason"] in {"stop", "length"}
    assert reply["usage"]["prompt_tokens"] == len(PROMPT)


async def test_completion_i_is_the_one_that_seed_plus_i_gives(engine: Engine) -> None:
    group = tokens_and_logprobs(await engine.generate(n=3, seed=40))

    single = [tokens_and_logprobs(await engine.generate(seed=40 + i))[0] for i in range(3)]

    assert [tokens for tokens, _ in group] == [tokens for tokens, _ in single]


async def test_without_a_seed_no_two_answers_are_alike(engine: Engine) -> None:
    replies = [await engine.generate(seed=None, max_tokens=30, ignore_eos=True) for _ in range(2)]

    assert tokens_and_logprobs(replies[0]) != tokens_and_logprobs(replies[1])


async def test_the_token_limit_ends_a_completion_with_length(engine: Engine) -> None:
    choice = (await engine.generate(max_tokens=3, ignore_eos=True))["choices"][0]

    assert (len(choice["token_ids"]), choice["finish_reason"], choice["stop_reason"]) == (3, "length", None)


async def test_a_stop_token_ends_a_completion_is_part_of_it_and_is_named(engine: Engine) -> None:
    free = (await engine.generate(max_tokens=10, ignore_eos=True))["choices"][0]["token_ids"]
    stop = free[4]

    choice = (await engine.generate(max_tokens=10, ignore_eos=True, stop_token_ids=[stop]))["choices"][0]

    assert choice["token_ids"] == free[: free.index(stop) + 1]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)


async def test_temperature_zero_takes_the_same_tokens_whatever_the_seed(engine: Engine) -> None:
    first, second = [await engine.generate(temperature=0.0, seed=seed) for seed in (1, 2)]

    assert tokens_and_logprobs(first) == tokens_and_logprobs(second)


async def test_pause_keep_freezes_requests_and_queues_new_ones(engine: Engine) -> None:
    undisturbed = tokens_and_logprobs(await engine.generate(max_tokens=LONG, ignore_eos=True))
    running_one = asyncio.create_task(engine.generate(max_tokens=LONG, ignore_eos=True))
    await asyncio.sleep(0.05)

    assert await engine.post("/pause?mode=keep&clear_cache=true") == {"status": "paused"}
    queued = asyncio.create_task(engine.generate(max_tokens=4))
    await asyncio.sleep(0.3)
    assert await engine.get("/is_paused") == {"is_paused": True}
    assert not running_one.done()
    assert not queued.done()
    assert await engine.post("/resume") == {"status": "resumed"}

    assert tokens_and_logprobs(await running_one) == undisturbed
    assert (await queued)["choices"]
    assert await engine.get("/is_paused") == {"is_paused": False}


async def test_pause_abort_answers_what_runs_and_queues_what_comes(engine: Engine) -> None:
    running_one = asyncio.create_task(engine.generate(max_tokens=LONG, ignore_eos=True))
    await asyncio.sleep(0.05)

    await engine.post("/pause?mode=abort")
    cut = (await running_one)["choices"][0]
    queued = asyncio.create_task(engine.generate())
    await asyncio.sleep(0.2)
    assert not queued.done()
    await engine.post("/resume")

    assert cut["finish_reason"] == "abort"
    assert len(cut["token_ids"]) < LONG
    assert (await queued)["choices"]


async def test_pause_wait_lets_what_runs_finish(engine: Engine) -> None:
    running_one = asyncio.create_task(engine.generate(max_tokens=LONG, ignore_eos=True))
    await asyncio.sleep(0.05)

    await engine.post("/pause?mode=wait")
    finished = (await running_one)["choices"][0]
    await engine.post("/resume")

    assert len(finished["token_ids"]) == LONG


async def test_everything_in_flight_can_be_aborted(engine: Engine) -> None:
    doomed = [asyncio.create_task(engine.generate(max_tokens=LONG, ignore_eos=True)) for _ in range(2)]
    await asyncio.sleep(0.05)

    reply = await engine.post("/abort_requests", {})

    assert reply["status"] == "aborted"
    assert [(await task)["choices"][0]["finish_reason"] for task in doomed] == ["abort", "abort"]


async def test_new_weights_take_effect_under_their_label_and_old_ones_come_back(engine: Engine, served: Served) -> None:
    before = tokens_and_logprobs(await engine.generate())

    await engine.load(served.policies[1], "1-aaaaaaaaaaaa")
    reply = await engine.generate()
    assert await engine.get("/weight_info") == {"weight_version": "1-aaaaaaaaaaaa"}
    assert [span["version"] for span in reply["choices"][0]["weight_versions"]] == ["1-aaaaaaaaaaaa"]
    assert tokens_and_logprobs(reply) != before

    await engine.load(served.policies[0], "default")
    assert tokens_and_logprobs(await engine.generate()) == before


async def test_a_probe_is_answered_with_what_the_model_thinks_of_given_tokens(engine: Engine, served: Served) -> None:
    tokens = fixed_tokens(VOCABULARY)
    async with open_client(token=None) as client:
        found = await EngineControl(client, engine.url, Patience()).logprobs_of(tokens, label="default")

    expected = reference_logprobs(load_reference(served.policies[0]), tokens[:1], tokens[1:])
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


async def test_the_prefix_cache_can_be_reset(engine: Engine) -> None:
    assert await engine.post("/reset_prefix_cache") == {"success": True}


@pytest.mark.parametrize(
    "sampling", [{"temperature": -1.0}, {"top_p": 0.0}, {"top_k": -2}, {"n": 0}, {"max_tokens": 0}], ids=str
)
async def test_impossible_sampling_is_refused(engine: Engine, sampling: dict[str, Any]) -> None:
    await engine.generate(expect=400, **sampling)


async def test_a_token_the_model_has_not_is_refused(engine: Engine) -> None:
    body = {"token_ids": [10**6], "sampling_params": {"max_tokens": 2}}

    await engine.post("/inference/v1/generate", body, expect=400)
