"""The decoder: tokens in, logits or a filled cache out.

Three passes share one block: `prefill` fills the cache with positions whose logits nobody needs, `decode` takes the
newest token of every running sequence to the logits of the next, `read` one sequence to all its logits.  Callers pad
passes to at least 32 tokens, for below 16 rows MKL's matrix products depend on how many rows there are.

Q positions, R sequences, N = Q * R tokens (position by position), H key-value heads, G queries per key-value head,
K keys, D head size, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding, linear, rms_norm, silu

from rlvr_trainer.engines.local.architecture import Architecture
from rlvr_trainer.engines.local.attention import attend, padded_keys, visibility
from rlvr_trainer.engines.local.cache import KeyValueCache
from rlvr_trainer.engines.local.rope import RopeTables, rotate
from rlvr_trainer.engines.local.weights import Layer, Projection, Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One policy version, ready to run."""

    architecture: Architecture
    weights: Weights
    rope: RopeTables


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """Where the tokens of one pass stand and which keys they see."""

    slots: slice
    num_positions: int
    num_keys: int
    places: Tensor
    mask_QR11K: Tensor
    cosine_N1D: Tensor
    sine_N1D: Tensor


def decode(model: Model, cache: KeyValueCache, *, tokens_R: Tensor, positions_R: Tensor) -> Tensor:
    """Logits [R, V] after `tokens_R` at `positions_R` of slots [0, R); their keys and values enter the cache."""
    here = _pass(model, cache, first_slot=0, positions_QR=positions_R[None])
    return _logits(model, _blocks(model, cache, tokens_R, here))


def read(model: Model, cache: KeyValueCache, *, tokens_Q: Tensor, start: int) -> Tensor:
    """Logits [Q, V] after each of `tokens_Q`, which stand at positions from `start` of slot 0 and enter the cache."""
    positions_Q1 = torch.arange(start, start + len(tokens_Q))[:, None]
    here = _pass(model, cache, first_slot=0, positions_QR=positions_Q1)
    return _logits(model, _blocks(model, cache, tokens_Q, here))


def prefill(model: Model, cache: KeyValueCache, *, tokens_QR: Tensor, first_slot: int, start: int) -> None:
    """Enter positions [start, start + Q) of slots [first_slot, first_slot + R) into the cache."""
    positions_Q = torch.arange(start, start + len(tokens_QR))
    here = _pass(model, cache, first_slot=first_slot, positions_QR=positions_Q[:, None].expand(tokens_QR.shape))
    _blocks(model, cache, tokens_QR.reshape(-1), here)


def _logits(model: Model, hidden: Tensor) -> Tensor:
    width, epsilon = (model.architecture.hidden,), model.architecture.norm_epsilon
    return linear(rms_norm(hidden, width, model.weights.final_norm, epsilon), model.weights.head).float()


def _pass(model: Model, cache: KeyValueCache, *, first_slot: int, positions_QR: Tensor) -> _Pass:
    num_positions, num_rows = positions_QR.shape
    positions_N = positions_QR.reshape(-1)
    slots_N = torch.arange(first_slot, first_slot + num_rows).repeat(num_positions)
    num_keys = padded_keys(int(positions_N.max()) + 1)
    return _Pass(
        slots=slice(first_slot, first_slot + num_rows),
        num_positions=num_positions,
        num_keys=num_keys,
        places=cache.places(slots_N, positions_N),
        mask_QR11K=visibility(positions_QR, num_keys=num_keys, dtype=cache.cells.dtype),
        cosine_N1D=model.rope.cosine_CD[positions_N][:, None],
        sine_N1D=model.rope.sine_CD[positions_N][:, None],
    )


def _blocks(model: Model, cache: KeyValueCache, tokens_N: Tensor, here: _Pass) -> Tensor:
    hidden = embedding(tokens_N, model.weights.embedding)
    width, epsilon = (model.architecture.hidden,), model.architecture.norm_epsilon
    for index, layer in enumerate(model.weights.layers):
        qkv = _project(rms_norm(hidden, width, layer.attention_norm, epsilon), layer.qkv)
        queries, keys_values = _heads(model.architecture, layer, qkv, here)
        cache.write(index, here.places, keys_values)
        keys, values = cache.read(index, here.slots, num_keys=here.num_keys)
        mixed = attend(queries, keys, values, here.mask_QR11K).to(hidden.dtype)
        hidden = hidden + _project(mixed.flatten(2).flatten(0, 1), layer.output)
        gate, up = _project(rms_norm(hidden, width, layer.mlp_norm, epsilon), layer.gate_up).chunk(2, -1)
        # A copy, because torch rounds exp differently over strided memory, and the learner's is not strided.
        hidden = hidden + _project(silu(gate.contiguous()) * up, layer.down)
    return hidden


def _heads(architecture: Architecture, layer: Layer, qkv: Tensor, here: _Pass) -> tuple[Tensor, Tensor]:
    """Queries [Q, R, H, G, D] and keys with values [N, 2, H, D], normed where the family does and turned."""
    heads, kv_heads, size = architecture.num_heads, architecture.num_kv_heads, architecture.head_dim
    split = qkv.view(-1, heads + 2 * kv_heads, size)
    turning, values = split[:, : heads + kv_heads], split[:, heads + kv_heads :]
    if layer.query_norm is not None and layer.key_norm is not None:
        epsilon = architecture.norm_epsilon
        queries = rms_norm(turning[:, :heads], (size,), layer.query_norm, epsilon)
        turning = torch.cat((queries, rms_norm(turning[:, heads:], (size,), layer.key_norm, epsilon)), 1)
    turned = rotate(turning, here.cosine_N1D, here.sine_N1D)
    queries = turned[:, :heads].reshape(here.num_positions, -1, kv_heads, architecture.queries_per_kv_head, size)
    return queries, torch.stack((turned[:, heads:], values), 1)


def _project(rows: Tensor, projection: Projection) -> Tensor:
    return linear(rows, projection.weight, projection.bias)
