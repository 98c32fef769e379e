"""Decoder weights from a Hugging Face directory's safetensors, laid out for fast decoding.

Query, key and value projections are fused, gate and up too, which changes no bit of their results.
Every tensor must be used and none may be missing: a weight that is silently ignored is a policy nobody trained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rlvr_trainer.engines.local.architecture import Architecture
from rlvr_trainer.errors import CorruptArtifact, InvalidInput

_DERIVED: Final = ("rotary_emb.inv_freq",)  # saved by old versions of transformers; computed here


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A linear map: weight [out, in] and bias [out] or none."""

    weight: Tensor
    bias: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One decoder layer."""

    attention_norm: Tensor
    qkv: Projection
    """Heads in the order queries, keys, values."""
    query_norm: Tensor | None
    key_norm: Tensor | None
    output: Projection
    mlp_norm: Tensor
    gate_up: Projection
    down: Projection


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """All parameters of one policy version."""

    embedding: Tensor
    layers: tuple[Layer, ...]
    final_norm: Tensor
    head: Tensor


def load_weights(folder: Path, architecture: Architecture, *, dtype: torch.dtype) -> Weights:
    """Read `folder`'s safetensors; InvalidInput or CorruptArtifact name the tensor that does not fit."""
    tensors = _Tensors(folder, _read_tensors(folder), dtype)
    weights = _assemble(tensors, architecture)
    tensors.expect_none_left(tied_head=architecture.tied_head)
    return weights


def _assemble(tensors: _Tensors, architecture: Architecture) -> Weights:
    embedding = tensors.take("model.embed_tokens.weight", architecture.vocabulary, architecture.hidden)
    layers = tuple(_layer(tensors, f"model.layers.{i}.", architecture) for i in range(architecture.num_layers))
    final_norm = tensors.take("model.norm.weight", architecture.hidden)
    if architecture.tied_head:
        return Weights(embedding=embedding, layers=layers, final_norm=final_norm, head=embedding)
    head = tensors.take("lm_head.weight", architecture.vocabulary, architecture.hidden)
    return Weights(embedding=embedding, layers=layers, final_norm=final_norm, head=head)


def _layer(tensors: _Tensors, prefix: str, architecture: Architecture) -> Layer:
    hidden, inner, size = architecture.hidden, architecture.intermediate, architecture.head_dim
    queries, keys = architecture.num_heads * size, architecture.num_kv_heads * size
    attention, mlp = f"{prefix}self_attn.", f"{prefix}mlp."
    return Layer(
        attention_norm=tensors.take(f"{prefix}input_layernorm.weight", hidden),
        qkv=_fused(
            tensors.projection(f"{attention}q_proj", queries, hidden),
            tensors.projection(f"{attention}k_proj", keys, hidden),
            tensors.projection(f"{attention}v_proj", keys, hidden),
        ),
        query_norm=tensors.take_if_there(f"{attention}q_norm.weight", size),
        key_norm=tensors.take_if_there(f"{attention}k_norm.weight", size),
        output=tensors.projection(f"{attention}o_proj", hidden, queries),
        mlp_norm=tensors.take(f"{prefix}post_attention_layernorm.weight", hidden),
        gate_up=_fused(
            tensors.projection(f"{mlp}gate_proj", inner, hidden), tensors.projection(f"{mlp}up_proj", inner, hidden)
        ),
        down=tensors.projection(f"{mlp}down_proj", hidden, inner),
    )


def _fused(*parts: Projection) -> Projection:
    weight = torch.cat([part.weight for part in parts])
    if all(part.bias is None for part in parts):
        return Projection(weight=weight, bias=None)
    biases = [weight.new_zeros(len(part.weight)) if part.bias is None else part.bias for part in parts]
    return Projection(weight=weight, bias=torch.cat(biases))


class _Tensors:
    """Named tensors that are handed out once each, checked for shape."""

    def __init__(self, folder: Path, by_name: Mapping[str, Tensor], dtype: torch.dtype) -> None:
        self.folder = folder
        self.left = dict(by_name)
        self.dtype = dtype

    def take(self, name: str, *shape: int) -> Tensor:
        tensor = self.take_if_there(name, *shape)
        if tensor is None:
            raise InvalidInput(
                f"{self.folder} has no tensor {name!r}; its weights do not belong to its config.json. "
                "Write both anew with save_pretrained()."
            )
        return tensor

    def take_if_there(self, name: str, *shape: int) -> Tensor | None:
        tensor = self.left.pop(name, None)
        if tensor is None:
            return None
        if tuple(tensor.shape) != shape:
            raise InvalidInput(
                f"{self.folder}: tensor {name!r} is {tuple(tensor.shape)}, but config.json asks for {shape}. "
                "Write both anew with save_pretrained()."
            )
        return tensor.to(self.dtype).contiguous()

    def projection(self, name: str, outputs: int, inputs: int) -> Projection:
        weight = self.take(f"{name}.weight", outputs, inputs)
        return Projection(weight=weight, bias=self.take_if_there(f"{name}.bias", outputs))

    def expect_none_left(self, *, tied_head: bool) -> None:
        if tied_head:
            self.left.pop("lm_head.weight", None)
        unknown = sorted(name for name in self.left if not name.endswith(_DERIVED))
        if unknown:
            raise InvalidInput(
                f"{self.folder} has {len(unknown)} tensors the local engine does not know, {unknown[0]!r} first; "
                "set rollout.engine: vllm, which may."
            )


def _read_tensors(folder: Path) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for path in _weight_files(folder):
        try:
            tensors.update(load_file(path))
        except (OSError, SafetensorError) as error:
            raise CorruptArtifact(f"{path} is not a readable safetensors file: {error}") from error
    return tensors


def _weight_files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    return [folder / "model.safetensors"]
