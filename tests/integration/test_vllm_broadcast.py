"""Broadcasts and the vLLM that is installed here: what is said to it is what it takes, and what it then thinks.

NCCL itself needs GPUs: its data path is not run here, a stand-in carries the tensors.
"""

import asyncio
import importlib
import importlib.util
import inspect
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import torch
from safetensors.torch import load_file

from broadcast_stand_in import StandIn, running_vllm
from builders import a_job
from engine_fakes import CHECK, TOKEN, FakePolicies, a_token, served_policies
from reference import expect_each_range_to_be_its_versions, load_reference, reference_logprobs
from rlvr_trainer.learner.broadcasting import nccl
from rlvr_trainer.learner.broadcasting.agents import Call, joinings
from rlvr_trainer.learner.broadcasting.plan import Circle, Member, Patience
from rlvr_trainer.learner.broadcasting.sender import Broadcaster
from rlvr_trainer.metrics import Board
from rlvr_trainer.rollout.agent import agent_app, open_agent
from rlvr_trainer.storage.policies import seal_policy
from rlvr_trainer.storage.signatures import SIGNATURE, TOLERANCES, Signature, fixed_tokens
from rlvr_trainer.transport import serving
from rlvr_trainer.wire import to_json
from role_processes import Role, await_answer
from tiny_models import VOCABULARY
from vllm_server import PATIENCE, START_SECONDS, alone, write_servable

PROMPT = [5, 6, 7, 8]
needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is missing: make setup-vllm")
CIRCLE = Circle(name="a000-0", members=(Member(url="http://r", rank_offset=1, world_size=2),))


@needs_vllm
def test_what_a_member_is_told_is_what_vllm_takes() -> None:
    engine = importlib.import_module("vllm.distributed.weight_transfer.nccl_engine")
    rendezvous = nccl.rendezvous_of(bytes(range(128)))

    (told,) = joinings(CIRCLE, rendezvous, seconds=1.0).values()
    init_info = engine.NCCLWeightTransferInitInfo(**told["initInfo"])

    assert (init_info.rank_offset, init_info.world_size, init_info.packed) == (1, 3, True)
    assert init_info.nccl_unique_id_bytes == bytes(range(128))
    call = Call(
        label="5-a",
        circle=CIRCLE,
        weights={"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)},
        signature=Signature(token_ids=(1, 2), logprobs=(-1.0,), tolerance=1e-4),
    )
    update_info = engine.NCCLWeightTransferUpdateInfo(**call.body(seconds=1.0)["updateInfo"])
    assert [getattr(torch, name) for name in update_info.dtype_names] == [torch.float32, torch.bfloat16]


@needs_vllm
def test_the_parts_of_vllm_that_send_take_what_they_are_given() -> None:
    common = importlib.import_module("vllm.distributed.weight_transfer.nccl_common")
    packed = importlib.import_module("vllm.distributed.weight_transfer.packed_tensor")

    inspect.signature(common.uid_init_process_group).bind(b"", 0, 3, torch.device("cuda", 0))
    inspect.signature(packed.packed_nccl_broadcast_producer).bind(
        iterator=iter(()), group=None, src=0, post_iter_func=len, buffer_size_bytes=1, num_buffers=2
    )


@dataclass
class Rollout:
    """A real vLLM, its agent, a coordinator's requests to it, and the learner that broadcasts to it."""

    url: str
    models: tuple[Path, Path]
    policies: FakePolicies
    session: aiohttp.ClientSession
    board: Board
    transport: StandIn
    learner: Broadcaster
    label: str = ""
    """Of the policy it began with."""

    def publish(self, step: int) -> tuple[str, Signature]:
        """Model `step % 2`, signed with what transformers thinks of it."""
        model, tokens = self.models[step % 2], fixed_tokens(VOCABULARY)
        logprobs = reference_logprobs(load_reference(model), tokens[:1], tokens[1:])
        signature = Signature(token_ids=tokens, logprobs=tuple(logprobs.tolist()), tolerance=TOLERANCES["float32"])
        draft = self.policies.folder / "draft"
        shutil.copytree(model, draft)
        (draft / SIGNATURE).write_bytes(to_json(signature))
        self.policies.served.clear()
        return seal_policy(draft, step=step), signature

    async def want(self, label: str) -> int:
        body = {"label": label, "url": f"{self.policies.url}/{label}"}
        async with self.session.post(f"{self.url}/policy", json=body) as reply:
            return reply.status

    async def broadcast(self, step: int) -> tuple[str, int]:
        await asyncio.to_thread(self.learner.prepare)
        label, signature = self.publish(step)
        wanted = asyncio.create_task(self.want(label))
        weights = load_file(self.models[step % 2] / "model.safetensors")
        await asyncio.to_thread(self.learner.send, label, weights, signature)
        return label, await wanted

    async def generate(self, seed: int) -> Any:
        sampling = {"n": 2, "seed": seed, "max_tokens": 200, "logprobs": 1, "ignore_eos": True, "detokenize": False}
        body = {"token_ids": PROMPT, "sampling_params": sampling, "request_id": f"r{seed}"}
        async with self.session.post(f"{self.url}/inference/v1/generate", json=body) as reply:
            assert reply.status == 200, await reply.text()
            return await reply.json()

    @property
    def gap(self) -> float:
        lines = self.board.render().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith("rlvr_rollout_probe_difference_nats "))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Their output layers are their own: on a CPU vLLM keeps a copy of tied ones, which is not what this is about."""
    folder = tmp_path_factory.mktemp("models")
    first, second = (write_servable(folder / f"p{seed}", seed=seed, tie_word_embeddings=False) for seed in (0, 1))
    return first, second


@pytest.fixture(scope="module")
def vllm(models: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Role]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is missing: make setup-vllm")
    rollout = {"engine": "vllm", "weightTransfer": "nccl", "maxConcurrent": 16, "sampling": {"maxTokens": 64}}
    job = a_job(model={"path": str(models[0])}, rollout=rollout, learner={"gpusPerNode": 1})
    with alone(), running_vllm(job.spec, tmp_path_factory.mktemp("vllm")) as role:
        await_answer(role, seconds=START_SECONDS)
        yield role


@pytest.fixture
async def rollout(vllm: Role, models: tuple[Path, Path], tmp_path: Path) -> AsyncIterator[Rollout]:
    """It has policy 0 from its folder."""
    board, transport, patient = Board(), StandIn(), aiohttp.ClientTimeout(total=300)
    async with (
        served_policies(tmp_path / "published") as policies,
        open_agent(vllm.url, policies=tmp_path / "policies", token=a_token, board=board, max_in_flight=64) as agent,
        serving(agent_app(agent, board, check=CHECK), host="127.0.0.1", port=0, cancel_on_disconnect=True) as url,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=patient) as session,
    ):
        policies.folder.mkdir()
        learner = Broadcaster(transport, rollouts=lambda: (url,), token=a_token, patience=Patience(), name="a0")
        found = Rollout(url, models, policies, session, board, transport, learner)
        found.label, _ = found.publish(0)
        assert await found.want(found.label) == 200
        yield found


@pytest.mark.timeout(PATIENCE)
async def test_a_real_vllm_thinks_what_was_broadcast_to_it_while_it_generated(rollout: Rollout) -> None:
    asked = [asyncio.create_task(rollout.generate(seed)) for seed in range(20)]
    labels = [rollout.label]
    for step in (1, 2):
        label, status = await rollout.broadcast(step)
        assert (status, rollout.policies.served) == (200, [])
        assert rollout.gap < 1e-5
        labels.append(label)

    choices = [choice for reply in await asyncio.gather(*asked) for choice in reply["choices"]]
    assert {len(choice["token_ids"]) for choice in choices} == {200}
    models = {label: load_reference(rollout.policies.folder / label) for label in labels}
    for choice in choices:
        expect_each_range_to_be_its_versions(choice, PROMPT, models)
    assert sum(len(choice["weight_versions"]) > 1 for choice in choices) >= 8


@pytest.mark.timeout(PATIENCE)
async def test_a_broadcast_that_breaks_half_way_is_cured_by_the_folder_and_the_next_one_comes_again(
    rollout: Rollout,
) -> None:
    rollout.transport.breaks_at = 5

    label, status = await rollout.broadcast(1)

    assert status == 400
    assert await rollout.want(label) == 200, "as the coordinator does, again"
    assert "model.safetensors" in rollout.policies.served
    assert rollout.gap < 1e-5

    assert (await rollout.broadcast(2))[1] == 200
    assert rollout.policies.served == []
    assert rollout.gap < 1e-5
