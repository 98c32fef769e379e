"""One process, one device, plain torch.

Trained weights and optimizer state are float32 whatever the job's dtype: bfloat16 is how the forward pass computes and
what is published.  Frozen weights beside adapters have the job's dtype.  A GPU is used when there is one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlvr_api import OptimizerSpec, RLVRJobSpec
from rlvr_trainer.errors import CorruptArtifact
from rlvr_trainer.learner.backends.base import Diverged, Scorer, base_of
from rlvr_trainer.learner.microbatches import MicroBatch
from rlvr_trainer.learner.models import Policy, open_base, open_policy
from rlvr_trainer.learner.shards import MOMENTS, PATTERN, WEIGHT, Shards, Stored, check_fit
from rlvr_trainer.learner.weights import AdapterFiles, check_base, save_base

WEIGHTS: Final = "model.safetensors"
OPTIMIZER: Final = "optimizer.pt"


def open_scorer(folder: Path, spec: RLVRJobSpec) -> LocalScorer:
    """The model in `folder`, to be asked only."""
    policy = open_base(folder, spec).to(_device()).requires_grad_(requires_grad=False)
    return LocalScorer(policy, dtype=_dtype(spec))


def open_backend(folder: Path, spec: RLVRJobSpec) -> LocalBackend:
    """The model in `folder`, to be trained."""
    policy = open_policy(folder, spec)
    if policy.adapters is not None:
        policy.adapters.narrow(_dtype(spec))
    policy = policy.to(_device())
    optimizer = make_optimizer(policy.trained().values(), spec.training.optimizer)
    return LocalBackend(
        policy, optimizer, dtype=_dtype(spec), max_grad_norm=spec.training.optimizer.max_grad_norm or math.inf
    )


def make_optimizer(parameters: Iterable[Tensor], spec: OptimizerSpec) -> torch.optim.AdamW:
    """AdamW whose weight decay spares norms and biases (vectors); the learning rate comes with each update."""
    every = list(parameters)
    groups = [
        {"params": [p for p in every if p.ndim >= 2], "weight_decay": spec.weight_decay},
        {"params": [p for p in every if p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=spec.learning_rate, betas=spec.betas, eps=spec.epsilon, fused=True)


def stored_in(folder: Path, named: Mapping[str, Tensor]) -> Stored:
    """What either backend saved in `folder`, for a model whose weights have these names."""
    return Shards(folder) if any(folder.glob(PATTERN)) else LocalFiles(folder, named)


class LocalFiles:
    """The local backend's files, read as shards are."""

    def __init__(self, folder: Path, named: Mapping[str, Tensor]) -> None:
        self._weights: dict[str, Tensor] = load_file(folder / WEIGHTS)
        moments: dict[int, dict[str, Tensor]] = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
        # The optimizer counts its parameters group by group: matrices, then vectors.
        order = sorted(named, key=lambda name: named[name].ndim < 2)
        self._moments = {name: moments[index] for index, name in enumerate(order) if index in moments}
        self.num_updates = max((int(state["step"]) for state in moments.values()), default=0)

    @property
    def sizes(self) -> dict[str, int]:
        return {name: weight.numel() for name, weight in self._weights.items()}

    def read(self, name: str, kind: str, *, start: int, size: int) -> Tensor:
        """[size] float32; moments are 0 where no update made them."""
        if kind != WEIGHT and name not in self._moments:
            return torch.zeros(size)
        whole = self._weights[name] if kind == WEIGHT else self._moments[name][kind]
        return whole.flatten()[start : start + size]


class LocalScorer:
    """A Scorer on one device."""

    def __init__(self, policy: Policy, *, dtype: torch.dtype) -> None:
        self._policy = policy
        self._dtype = dtype

    @property
    def device(self) -> torch.device:
        device: torch.device = next(self._policy.parameters()).device
        return device

    def statistics(self, micro: MicroBatch) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, dtype=self._dtype, enabled=self._dtype is not torch.float32):
            statistics: tuple[Tensor, Tensor] = self._policy(
                micro.tokens_MS, micro.lengths_M, micro.predictors_N, micro.targets_N
            )
        return statistics


class LocalBackend(LocalScorer):
    """A Backend for weights that fit one device."""

    def __init__(
        self, policy: Policy, optimizer: torch.optim.Optimizer, *, dtype: torch.dtype, max_grad_norm: float
    ) -> None:
        super().__init__(policy, dtype=dtype)
        self._named = policy.trained()
        self._optimizer = optimizer
        self._max_grad_norm = max_grad_norm

    @property
    def num_bytes(self) -> int:
        weights_and_two_moments = 3
        return weights_and_two_moments * sum(int(p.nbytes) for p in self._named.values())

    def untempered(self) -> LocalScorer:
        return LocalScorer(self._policy.at(temperature=1.0), dtype=self._dtype)

    def base(self) -> Scorer | None:
        return base_of(self, self._policy.adapters)

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]

    def update(self, *, learning_rate: float) -> float:
        norm = float(torch.nn.utils.clip_grad_norm_(self._named.values(), self._max_grad_norm))
        if not math.isfinite(norm):
            self._optimizer.zero_grad()
            raise Diverged(f"the gradient norm is {norm}")
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        self._optimizer.zero_grad()
        return norm

    def weights(self) -> dict[str, Tensor]:
        return {one.name: one.value().to("cpu", self._dtype).contiguous() for one in self._policy.published()}

    def adapter(self) -> AdapterFiles | None:
        adapters = self._policy.adapters
        return None if adapters is None else adapters.files(self._whole())

    def _whole(self) -> dict[str, Tensor]:
        return {name: p.detach().cpu().contiguous() for name, p in self._named.items()}

    def _fits(self, name: str, stored: dict[str, Tensor]) -> bool:
        return name in stored and name in self._named and stored[name].shape == self._named[name].shape

    def save(self, folder: Path) -> None:
        save_file(self._whole(), folder / WEIGHTS, metadata={"format": "pt"})
        torch.save(self._optimizer.state_dict()["state"], folder / OPTIMIZER)
        save_base(self._policy.adapters, folder)

    def load(self, folder: Path) -> None:
        """Weights and moments, of either backend; rates, betas and decay stay those of the manifest."""
        check_base(self._policy.adapters, folder)
        if any(folder.glob(PATTERN)):
            self._load_shards(Shards(folder), folder)
            return
        stored = load_file(folder / WEIGHTS)
        different = [name for name in stored.keys() | self._named.keys() if not self._fits(name, stored)]
        if different:
            raise CorruptArtifact(
                f"{folder / WEIGHTS} does not fit the base model: {min(different)} is missing on one side or shaped "
                "differently. Give spec.model the model that the checkpoint was trained from, and training.lora what "
                "it had."
            )
        with torch.no_grad():
            for name, parameter in self._named.items():
                parameter.copy_(stored[name])
        moments = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": moments})

    def _load_shards(self, shards: Shards, folder: Path) -> None:
        check_fit(shards, {name: p.numel() for name, p in self._named.items()}, folder=folder)
        for name, parameter in self._named.items():
            read = partial(shards.read, name, start=0, size=parameter.numel())
            with torch.no_grad():
                parameter.copy_(read(WEIGHT).view_as(parameter))
            moments = {kind: read(kind).view_as(parameter).to(parameter.device) for kind in MOMENTS}
            self._optimizer.state[parameter] = {"step": torch.tensor(float(shards.num_updates)), **moments}


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _dtype(spec: RLVRJobSpec) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, spec.model.dtype)
    return dtype
