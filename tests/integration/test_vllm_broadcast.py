"""Broadcasts and the vLLM that is installed here: what is said to it is what it takes.

NCCL itself needs GPUs: its data path is not run here.
"""

import importlib
import importlib.util
import inspect

import pytest
import torch

from rlvr_trainer.learner.broadcasting import nccl
from rlvr_trainer.learner.broadcasting.agents import Call, joinings
from rlvr_trainer.learner.broadcasting.plan import Group, Member
from rlvr_trainer.storage.signatures import Signature

needs_vllm = pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vLLM is missing: make setup-vllm")
GROUP = Group(name="a000-0", members=(Member(url="http://r", rank_offset=1, world_size=2),))


@needs_vllm
def test_what_a_member_is_told_is_what_vllm_takes() -> None:
    engine = importlib.import_module("vllm.distributed.weight_transfer.nccl_engine")
    rendezvous = nccl.rendezvous_of(bytes(range(128)))

    (told,) = joinings(GROUP, rendezvous, seconds=1.0).values()
    init_info = engine.NCCLWeightTransferInitInfo(**told["initInfo"])

    assert (init_info.rank_offset, init_info.world_size, init_info.packed) == (1, 3, True)
    assert init_info.nccl_unique_id_bytes == bytes(range(128))
    call = Call(
        label="5-a",
        group=GROUP,
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
