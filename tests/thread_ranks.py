"""Ranks that are threads of one process, with sums as an all-reduce makes them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from rlvr_trainer.learner.ranks import Ranks

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ThreadRank:
    """One of several ranks that are threads of this process; all of them share a slot each and two meetings a call."""

    rank: int
    together: threading.Barrier
    slots: list[Any]

    @property
    def size(self) -> int:
        return len(self.slots)

    @property
    def node_rank(self) -> int:
        return self.rank

    @property
    def node_size(self) -> int:
        return self.size

    def _all(self, mine: T) -> list[T]:
        self.slots[self.rank] = mine
        self.together.wait()
        everyone = list(self.slots)
        self.together.wait()
        return everyone

    def add(self, values: Tensor) -> Tensor:
        return torch.stack(self._all(values)).sum(0)

    def tell(self, words: bytes) -> bytes:
        return self._all(words)[0]

    def meet(self) -> None:
        self._all(None)

    def miss(self, error: Exception) -> None: ...


def on_ranks(num_ranks: int, work: Callable[[Ranks], T]) -> list[T]:
    """What `work` returns on each rank, all at once in threads."""
    together, slots = threading.Barrier(num_ranks, timeout=60), [None] * num_ranks

    def run(rank: int) -> T:
        try:
            return work(ThreadRank(rank, together, slots))
        except BaseException:
            together.abort()
            raise

    with ThreadPoolExecutor(num_ranks) as threads:
        return [done.result() for done in [threads.submit(run, rank) for rank in range(num_ranks)]]
