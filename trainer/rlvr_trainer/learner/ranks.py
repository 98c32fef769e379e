"""The processes that train one model together, as a step sees them.

A rank is one process with its own device.  All ranks know the whole step; each does its part of the work, and what the
parts found is added up.  Calls are collective: every rank makes the same calls in the same order.
"""

from __future__ import annotations

from typing import Final, Protocol

from torch import Tensor


class Ranks(Protocol):
    """How many there are, which one this is, and how they agree."""

    @property
    def rank(self) -> int:
        """0 speaks for all: it takes batches, publishes, reports, keeps checkpoints."""
        ...

    @property
    def size(self) -> int: ...

    @property
    def node_rank(self) -> int:
        """Place among the ranks of this node, which share a folder."""
        ...

    @property
    def node_size(self) -> int:
        """Ranks of this node."""
        ...

    def add(self, values: Tensor) -> Tensor:
        """Sum over all ranks, the same bits on each; int64 or floating."""
        ...

    def tell(self, words: bytes) -> bytes:
        """What rank 0 passed."""
        ...

    def meet(self) -> None:
        """Wait until all ranks are here."""
        ...

    def miss(self, error: Exception) -> None:
        """Tell who is missing, should `error` be that of a call which another rank did not join; once, and at once."""
        ...


class Alone:
    """One process trains by itself."""

    rank: Final = 0
    size: Final = 1
    node_rank: Final = 0
    node_size: Final = 1

    def add(self, values: Tensor) -> Tensor:
        return values

    def tell(self, words: bytes) -> bytes:
        return words

    def meet(self) -> None:
        """Nobody to wait for."""

    def miss(self, error: Exception) -> None:
        """Nobody to miss."""


ALONE: Final = Alone()
