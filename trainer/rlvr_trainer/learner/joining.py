"""One rank of several: joined through torchrun's environment, agreeing through torch.distributed.

CPU tensors travel by gloo, CUDA tensors by NCCL.  A collective that some rank does not join ends after the job's
hangTimeoutSeconds on all others; then, and when a peer's process ends, the rank gives up with EXIT_PEER_LOST.  Who is
gone is the launcher's to name, who does not answer is named here.
"""

from __future__ import annotations

import faulthandler
import logging
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from rlvr_api import RLVRJobSpec
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.learner.launching import EXIT_PEER_LOST, num_ranks
from rlvr_trainer.learner.ranks import ALONE, Ranks
from rlvr_trainer.learner.roll import Store, absent, naming

logger = logging.getLogger(__name__)
_TIMED_OUT: Final = "timed out"
_LOST_WORDS: Final = (
    "connection closed by peer",
    "connection reset",
    "broken pipe",
    _TIMED_OUT,
    "nccl",
    "connect failure",
)
"""How gloo and NCCL say that a peer is gone; they have no exception of their own for it."""


@contextmanager
def joined(spec: RLVRJobSpec, environment: Mapping[str, str]) -> Iterator[Ranks]:
    """The job's ranks, while the block runs; SystemExit(EXIT_PEER_LOST) when one is lost.  Plain torch is alone."""
    if spec.learner.backend.deepspeed is None:
        yield ALONE
        return
    _check_size(spec, environment)
    faulthandler.register(signal.SIGUSR1, all_threads=False)
    ranks = None
    try:
        ranks = _join(environment, timeout=timedelta(seconds=spec.limits.hang_timeout_seconds))
        yield ranks
    except RuntimeError as error:
        if not is_lost_peer(error):
            raise
        if ranks is None:
            logger.exception("the other ranks cannot be joined")
        else:
            ranks.miss(error)
        raise SystemExit(EXIT_PEER_LOST) from error
    dist.destroy_process_group()


def is_lost_peer(error: BaseException) -> bool:
    """Whether a collective failed because of another rank, as far as its words tell."""
    return any(word in str(error).lower() for word in _LOST_WORDS)


class Joined:
    """One process among those of the default process group."""

    def __init__(self, store: Store, *, timeout: timedelta, node_rank: int, node_size: int) -> None:
        self._store = store
        self._timeout = timeout
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.node_rank = node_rank
        self.node_size = node_size
        self._has_missed = False
        self._hosts = [""] * self.size
        dist.all_gather_object(self._hosts, socket.gethostname())

    def add(self, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    def tell(self, words: bytes) -> bytes:
        size = torch.tensor([len(words)])
        dist.broadcast(size, src=0)
        told = torch.zeros(int(size), dtype=torch.uint8)
        if self.rank == 0 and words:
            told = torch.frombuffer(bytearray(words), dtype=torch.uint8)
        dist.broadcast(told, src=0)
        return told.numpy().tobytes()

    def meet(self) -> None:
        self.add(torch.zeros(1))

    def miss(self, error: Exception) -> None:
        if self._has_missed or not isinstance(error, RuntimeError) or not is_lost_peer(error):
            return
        self._has_missed = True
        logger.error("another rank is gone or does not answer", exc_info=error)
        if _TIMED_OUT in str(error).lower():
            silent = naming(absent(self._store, rank=self.rank, size=self.size), self._hosts)
            logger.error(
                "no answer for %d s (limits.hangTimeoutSeconds) from %s", self._timeout.total_seconds(), silent
            )


def _join(environment: Mapping[str, str], *, timeout: timedelta) -> Joined:
    node_rank = int(environment["LOCAL_RANK"])
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(node_rank)
        backend = "cpu:gloo,cuda:nccl"
    store, rank, size = next(rendezvous("env://", timeout=timeout))
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    return Joined(store, timeout=timeout, node_rank=node_rank, node_size=int(environment["LOCAL_WORLD_SIZE"]))


def _check_size(spec: RLVRJobSpec, environment: Mapping[str, str]) -> None:
    found, wanted = int(environment["WORLD_SIZE"]), num_ranks(spec.learner)
    if found != wanted:
        raise InvalidInput(
            f"WORLD_SIZE is {found}, but learner.nodes {spec.learner.nodes} x gpusPerNode {spec.learner.gpus_per_node} "
            f"makes {wanted} ranks. Start the learner without RANK and WORLD_SIZE, and it starts its own ranks."
        )
