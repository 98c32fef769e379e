"""Which weights of a model are trained, and what is published of them.

Without adapters every weight is both.  With adapters (LoRA, 2106.09685 section 4.1) a linear layer computes
W x + scale B A x: A and B are trained, W is not, and W + scale B A is published under the layer's own name.

[R, I] and [O, R] are the two matrices of an adapter of rank R beside a layer of I inputs and O outputs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rlvr_trainer.errors import InvalidInput

CONFIG: Final = "adapter_config.json"
MATRICES: Final = "adapter_model.safetensors"
BASE: Final = "base.sha256"
"""In a checkpoint of adapters: which weights they belong to."""
_PREFIX: Final = "base_model.model."
"""What PEFT puts before the names of a model's layers."""
_SAMPLE: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LowRank:
    """The adapter of one layer."""

    down_RI: nn.Parameter
    up_OR: nn.Parameter
    scale: float

    def delta_OI(self) -> Tensor:
        """What it adds to the layer's weight, float32."""
        return (self.up_OR.detach().float() @ self.down_RI.detach().float()) * self.scale


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AdapterFiles:
    """All adapters of a policy as PEFT stores them."""

    config: bytes
    matrices: Mapping[str, Tensor]

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / CONFIG).write_bytes(self.config)
        save_file(dict(self.matrices), folder / MATRICES, metadata={"format": "pt"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adapters:
    """Those of a model, each in its place."""

    layers: Mapping[str, Any]
    """PEFT's layers by their names in the model."""
    pairs: Mapping[str, LowRank]
    """By the same names."""
    config: bytes
    """adapter_config.json."""
    base: str
    """Fingerprint of the weights beside them."""

    @contextmanager
    def off(self) -> Iterator[None]:
        """The model is the base model while the block runs."""
        for layer in self.layers.values():
            layer.enable_adapters(enabled=False)
        try:
            yield
        finally:
            for layer in self.layers.values():
                layer.enable_adapters(enabled=True)

    def named(self) -> dict[str, nn.Parameter]:
        """Their matrices."""
        return {
            f"{name}.lora_{letter}.weight": matrix
            for name, pair in self.pairs.items()
            for letter, matrix in (("A", pair.down_RI), ("B", pair.up_OR))
        }

    def narrow(self, dtype: torch.dtype) -> None:
        """Hold the weights beside the adapters as autocast computes with them anyway: nothing changes but memory."""
        for layer in self.layers.values():
            layer.get_base_layer().to(dtype)

    def files(self, matrices: Mapping[str, Tensor]) -> AdapterFiles:
        """With these values of `named`."""
        return AdapterFiles(config=self.config, matrices={f"{_PREFIX}{name}": m for name, m in matrices.items()})


def save_base(adapters: Adapters | None, folder: Path) -> None:
    """Say in a checkpoint of adapters what they belong to."""
    if adapters is not None:
        (folder / BASE).write_text(adapters.base)


def check_base(adapters: Adapters | None, folder: Path) -> None:
    """InvalidInput unless the checkpoint's adapters, if any, were trained beside these weights."""
    path = folder / BASE
    if adapters is None or not path.exists():
        return
    stored = path.read_text()
    if stored != adapters.base:
        raise InvalidInput(
            f"the adapters in {folder} were trained beside other weights ({stored[:12]}) than those of spec.model "
            f"({adapters.base[:12]}). Give spec.model the model that the checkpoint was trained from."
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Weight:
    """One weight as it is published."""

    name: str
    own: nn.Parameter
    added: LowRank | None = None

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All that it is made of."""
        return [self.own] if self.added is None else [self.own, self.added.down_RI, self.added.up_OR]

    def value(self) -> Tensor:
        """Its elements, added up in float32; without an adapter the parameter's own memory."""
        own = self.own.detach()
        return own if self.added is None else (own.float() + self.added.delta_OI()).to(own.dtype)


def trained(model: nn.Module, adapters: Adapters | None) -> dict[str, nn.Parameter]:
    """What the optimizer moves and a checkpoint holds, by name."""
    return dict(model.named_parameters()) if adapters is None else adapters.named()


def published(model: nn.Module, adapters: Adapters | None) -> list[Weight]:
    """Every weight of the base model once, in its order."""
    if adapters is None:
        return [Weight(name=name, own=parameter) for name, parameter in model.named_parameters()]
    matrices = {id(matrix) for matrix in adapters.named().values()}
    found = []
    for path, parameter in model.named_parameters():
        if id(parameter) not in matrices:
            layer, _, kind = path.rpartition(".base_layer.")
            added = adapters.pairs[layer] if layer and kind == "weight" else None
            found.append(Weight(name=f"{layer}.{kind}" if layer else path, own=parameter, added=added))
    return found


def fingerprint(named: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes and some elements of every weight; they lie on the CPU."""
    digest = hashlib.sha256()
    for name, weight in sorted(named.items()):
        flat = weight.detach().flatten()
        some = flat[:: max(1, flat.numel() // _SAMPLE)].to(torch.float32).contiguous()
        digest.update(f"{name} {tuple(weight.shape)}".encode())
        digest.update(some.numpy().tobytes())
    return digest.hexdigest()
