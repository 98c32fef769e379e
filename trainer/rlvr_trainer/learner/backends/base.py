"""What a training step needs from whoever holds the weights and the optimizer.

Calls are collective: where several processes share the weights, each makes the same calls in the same order, with its
own part of the tokens.  The step itself knows nothing of precision, sharding or ranks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from rlvr_trainer.errors import TrainerError
from rlvr_trainer.learner.microbatches import MicroBatch
from rlvr_trainer.learner.weights import AdapterFiles, Adapters


class Diverged(TrainerError):
    """A loss or gradient is not finite; nothing was updated with it."""


class Scorer(Protocol):
    """A policy that can be asked what it thinks of tokens."""

    def statistics(self, micro: MicroBatch) -> tuple[Tensor, Tensor]:
        """Log-probability and entropy of its completion tokens, [N] float32; with gradient where torch records it."""
        ...


class Backend(Scorer, Protocol):
    """Weights, gradients and optimizer of the policy being trained."""

    @property
    def device(self) -> torch.device:
        """Where a batch should be."""
        ...

    def untempered(self) -> Scorer:
        """The same weights, asked at temperature 1."""
        ...

    def base(self) -> Scorer | None:
        """The base model, in the same memory; None where its weights are trained."""
        ...

    @property
    def num_bytes(self) -> int:
        """About what `save` writes."""
        ...

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss` to those since the last update."""
        ...

    def update(self, *, learning_rate: float) -> float:
        """Clip, step, forget the gradients; returns the gradient norm before clipping.  May raise Diverged."""
        ...

    def weights(self) -> dict[str, Tensor]:
        """Every weight once under its Hugging Face name, whole, in the precision that is published."""
        ...

    def adapter(self) -> AdapterFiles | None:
        """What `weights` adds to the base model, whole; None where there are no adapters."""
        ...

    def save(self, folder: Path) -> None:
        """Write all that `load` needs to continue bit for bit."""
        ...

    def load(self, folder: Path) -> None: ...


def base_of(scorer: Scorer, adapters: Adapters | None) -> Scorer | None:
    """The base model that lies under `adapters`, which `scorer` asks too; None without any."""
    return None if adapters is None else _WithoutAdapters(scorer, adapters)


class _WithoutAdapters:
    def __init__(self, scorer: Scorer, adapters: Adapters) -> None:
        self._scorer = scorer
        self._adapters = adapters

    def statistics(self, micro: MicroBatch) -> tuple[Tensor, Tensor]:
        with self._adapters.off():
            return self._scorer.statistics(micro)
