"""Weights over NCCL, by vLLM's own trainer-side parts; the one module of the trainer that knows vLLM.

The circle is found by a NCCL id that travels over the agents' authenticated routes: no store listens, nothing is
unpickled.  Tensors are sent in buckets of at least a gigabyte, as vLLM's workers expect them.  The data path needs
GPUs on both sides and has not run yet: only what is around it is under test.
"""

from __future__ import annotations

import base64
import importlib.util
import logging
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from rlvr_trainer.errors import InvalidInput

log = logging.getLogger(__name__)
_BUCKET_BYTES: Final = 2**30
_NUM_BUCKETS: Final = 2
"""One is filled while the other travels."""


class Nccl:
    """Rank 0 of one circle at a time, on the learner's device."""

    def __init__(self, device: torch.device) -> None:
        # NCCL wants to know which; `cuda` is the one of this process.
        self._device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        self._id = b""
        self._communicator: Any = None

    def rendezvous(self) -> dict[str, Any]:
        from vllm.distributed.device_communicators.pynccl_wrapper import NCCLLibrary  # noqa: PLC0415 - not everywhere

        self._id = bytes(NCCLLibrary().ncclGetUniqueId().internal)
        return rendezvous_of(self._id)

    def join(self, world_size: int) -> None:
        from vllm.distributed.weight_transfer.nccl_common import uid_init_process_group  # noqa: PLC0415

        mine = self._id
        communicator = uid_init_process_group(mine, 0, world_size, self._device)
        if mine != self._id:  # found too late: it was given up, and perhaps there is another by now
            communicator.destroy()
            return
        self._communicator = communicator

    def broadcast(self, weights: Mapping[str, Tensor]) -> None:
        from vllm.distributed.weight_transfer.packed_tensor import packed_nccl_broadcast_producer  # noqa: PLC0415

        with torch.cuda.device(self._device):  # a new thread begins on the first one
            packed_nccl_broadcast_producer(
                iterator=iter(weights.items()),
                group=self._communicator,
                src=0,
                post_iter_func=lambda item: item[1].to(self._device),
                buffer_size_bytes=_BUCKET_BYTES,
                num_buffers=_NUM_BUCKETS,
            )

    def abandon(self) -> None:
        communicator, self._communicator, self._id = self._communicator, None, b""
        try:
            if communicator is not None:
                communicator.destroy()  # aborts, on a thread of its own, and waits 5 s at most
        except Exception as error:  # noqa: BLE001 - there is nothing left to lose in it
            log.warning("the circle could not be left: %s", error)


def rendezvous_of(unique_id: bytes) -> dict[str, Any]:
    """What vLLM's `/init_weight_transfer_engine` is told beside ranks."""
    return {
        "nccl_unique_id_b64": base64.b64encode(unique_id).decode(),
        "packed": True,
        "packed_buffer_size_bytes": _BUCKET_BYTES,
        "packed_num_buffers": _NUM_BUCKETS,
    }


def check(device: torch.device) -> None:
    """InvalidInput unless this learner can broadcast."""
    if device.type != "cuda":
        raise InvalidInput(
            f"rollout.weightTransfer is nccl, but this learner computes on {device.type}: give it GPUs "
            "(learner.gpusPerNode), or set rollout.weightTransfer to directory."
        )
    if importlib.util.find_spec("vllm") is None:
        raise InvalidInput(
            "rollout.weightTransfer is nccl, which the learner sends with vLLM's library, but vLLM is not installed "
            "beside it: use an image for the learner that has both (learner.template), or set rollout.weightTransfer "
            "to directory."
        )
