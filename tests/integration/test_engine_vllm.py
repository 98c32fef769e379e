"""A real vLLM: its weights change under requests in flight, and what it then thinks is what transformers thinks."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from safetensors.torch import load_file, save_file

from engine_fakes import CHECK, TOKEN, FakePolicies, a_token, eventually, served_policies
from reference import expect_each_range_to_be_its_versions, load_reference, reference_logprobs
from rlvr_trainer.errors import TrainerError
from rlvr_trainer.metrics import Board
from rlvr_trainer.rollout.agent import agent_app, open_agent
from rlvr_trainer.rollout.engine import EngineControl, Patience
from rlvr_trainer.storage.policies import seal_policy
from rlvr_trainer.storage.signatures import SIGNATURE, TOLERANCES, Signature, difference, fixed_tokens
from rlvr_trainer.transport import open_client, serving
from rlvr_trainer.wire import to_json
from tiny_models import VOCABULARY
from vllm_server import PATIENCE, Served, a_vllm

pytestmark = pytest.mark.timeout(PATIENCE)
PROMPT = [5, 6, 7, 8]
TOKENS = fixed_tokens(VOCABULARY)


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Its output layer is its embedding, as in most small models."""
    with a_vllm(tmp_path_factory.mktemp("vllm"), tie_word_embeddings=True) as served:
        yield served


@pytest.fixture
async def engine(vllm: Served) -> AsyncIterator[EngineControl]:
    async with open_client(token=None, keep_alive=False) as client:
        yield EngineControl(client, vllm.role.url, Patience())


def signature_of(policy: Path) -> Signature:
    """What transformers says that `policy` thinks."""
    logprobs = reference_logprobs(load_reference(policy), TOKENS[:1], TOKENS[1:])
    return Signature(token_ids=TOKENS, logprobs=tuple(logprobs.tolist()), tolerance=TOLERANCES["float32"])


async def gap(engine: EngineControl, policy: Path) -> float:
    return difference(signature_of(policy), await engine.logprobs_of(TOKENS, label=f"gap-{policy.name}"))


async def test_its_version_is_taken_and_our_plugin_is_in_it(engine: EngineControl) -> None:
    await engine.check()

    assert await engine.has_directory_transfer()


async def test_a_tied_output_layer_follows_with_the_plugin_and_stays_behind_without(
    engine: EngineControl, vllm: Served
) -> None:
    first, second = vllm.policies
    await engine.has_directory_transfer()
    await engine.transfer(first, label="1")
    assert await gap(engine, first) < 1e-5

    await engine.transfer(second, label="2")
    assert (await engine.weight_version(), await gap(engine, second) < 1e-5) == ("2", True)

    await engine.reload(first, label="3")  # vLLM says that all went well
    assert await engine.weight_version() == "3"
    assert await gap(engine, first) > 100 * TOLERANCES["float32"]

    await engine.transfer(first, label="4")
    assert await gap(engine, first) < 1e-5


async def test_a_folder_that_does_not_fit_changes_nothing(engine: EngineControl, vllm: Served, tmp_path: Path) -> None:
    await engine.has_directory_transfer()
    await engine.transfer(vllm.policies[0], label="1")
    shutil.copytree(vllm.policies[1], tmp_path / "lacking")
    tensors = load_file(tmp_path / "lacking" / "model.safetensors")
    norm = tensors.pop("model.norm.weight")
    save_file(tensors, tmp_path / "lacking" / "model.safetensors")
    shutil.copytree(vllm.policies[1], tmp_path / "wider")
    save_file({**tensors, "model.norm.weight": norm.repeat(2)}, tmp_path / "wider" / "model.safetensors")

    for folder, words in (
        (tmp_path / "absent", "holds no safetensors"),
        (tmp_path / "lacking", "'model.norm.weight' is absent"),
        (tmp_path / "wider", r"is \(128,\), but the model that is served has \(64,\); nothing was changed"),
    ):
        with pytest.raises(TrainerError, match=words):
            await engine.transfer(folder, label="2")
        assert (await engine.weight_version(), await gap(engine, vllm.policies[0]) < 1e-5) == ("1", True)

    await engine.transfer(vllm.policies[1], label="3")
    assert await gap(engine, vllm.policies[1]) < 1e-5


@dataclass
class Front:
    """An agent before vLLM, and a coordinator's requests to it."""

    url: str
    policies: FakePolicies
    session: aiohttp.ClientSession
    board: Board

    def publish(self, step: int, policy: Path) -> str:
        """A signed policy of these weights."""
        draft = self.policies.folder / "draft"
        shutil.copytree(policy, draft)
        (draft / SIGNATURE).write_bytes(to_json(signature_of(policy)))
        return seal_policy(draft, step=step)

    async def send(self, label: str) -> Any:
        body = {"label": label, "url": f"{self.policies.url}/{label}"}
        async with self.session.post(f"{self.url}/policy", json=body) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    async def generate(self, seed: int, *, max_tokens: int) -> Any:
        sampling = {"n": 2, "seed": seed, "max_tokens": max_tokens, "logprobs": 1, "ignore_eos": True}
        body = {"token_ids": PROMPT, "sampling_params": sampling | {"detokenize": False}, "request_id": f"r{seed}"}
        async with self.session.post(f"{self.url}/inference/v1/generate", json=body) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()


@pytest.fixture
async def front(vllm: Served, tmp_path: Path) -> AsyncIterator[Front]:
    board, bearer, patient = Board(), {"Authorization": f"Bearer {TOKEN}"}, aiohttp.ClientTimeout(total=300)
    async with (
        served_policies(tmp_path / "published") as policies,
        open_agent(
            vllm.role.url, policies=tmp_path / "policies", token=a_token, board=board, max_in_flight=256
        ) as agent,
        serving(agent_app(agent, board, check=CHECK), host="127.0.0.1", port=0, cancel_on_disconnect=True) as url,
        aiohttp.ClientSession(headers=bearer, timeout=patient) as session,
    ):
        policies.folder.mkdir()
        yield Front(url, policies, session, board)


async def sampled_tokens(session: aiohttp.ClientSession, vllm: Served) -> float:
    async with session.get(f"{vllm.role.url}/metrics") as reply:
        lines = (await reply.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("vllm:generation_tokens_total{"))


async def test_seeded_requests_in_flight_outlive_updates_and_every_range_is_its_own_versions(
    front: Front, vllm: Served
) -> None:
    """40 groups of 2 on 64 places: some run, some wait.  On a CPU this kills a vLLM that reads prompts in parts."""
    labels = [front.publish(step, vllm.policies[step % 2]) for step in range(3)]
    await front.send(labels[0])
    asked = [asyncio.create_task(front.generate(seed, max_tokens=200)) for seed in range(40)]
    for label in labels[1:]:
        begun, began = await sampled_tokens(front.session, vllm), time.monotonic()

        async def they_run(begun: float = begun) -> bool:
            await asyncio.sleep(0.2)  # asking takes vLLM's time
            return await sampled_tokens(front.session, vllm) > begun + 2000

        await eventually(they_run, seconds=200)
        update = await front.send(label)
        # Behind those that wait it would take as long as a completion.
        assert update["probeSeconds"] < (time.monotonic() - began) / 2, update

    choices = [choice for reply in await asyncio.gather(*asked) for choice in reply["choices"]]

    assert len(choices) == 80
    models = {label: load_reference(front.policies.folder / label) for label in labels}
    for choice in choices:
        assert len(choice["token_ids"]) == 200
        expect_each_range_to_be_its_versions(choice, PROMPT, models)
    assert sum(len(choice["weight_versions"]) > 1 for choice in choices) >= 20


async def test_after_every_update_a_probe_agrees_with_transformers(front: Front, vllm: Served) -> None:
    for step in range(4):
        reply = await front.send(front.publish(step, vllm.policies[step % 2]))
        assert reply["probeSeconds"] > 0
        lines = front.board.render().decode().splitlines()
        probed = [line for line in lines if line.startswith("rlvr_rollout_probe_difference_nats ")]
        assert float(probed[0].rpartition(" ")[2]) < 1e-5
