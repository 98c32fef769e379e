"""Attention whose result for a token depends on nothing but that token's own sequence, bit for bit.

A float32 model attends in float64 and rounds once, at the end: the learner does the same by another route
(learner/models.py), and the two roundings all but always agree, which float32 sums in different orders do not.

Every position, prefilled or decoded, is a batched product of its own with [queries per head, head size] in each entry.
Measured with MKL in float32 and float64 on one thread: an entry keeps its bits whatever else is in the batch and
however many keys are padded, as long as padding is exact zeros, a product has 400 elements or more (below, torch uses
another kernel) and no sum spans more than 256 keys (above, MKL splits it by total length).  `tests/unit/engines` proves
it anew on every machine; other data types and thread counts give the same distribution, not the same bits.

Q positions, R sequences, H key-value heads, G queries per key-value head, K keys, D head size (at least 16).
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

KEY_STEP: Final = 32
"""Key counts are padded to multiples of this."""
_KEY_BLOCK: Final = 256


def padded_keys(num_keys: int) -> int:
    """How many keys a pass works on whose longest sequence has `num_keys`."""
    return -(-num_keys // KEY_STEP) * KEY_STEP


def precision_of(dtype: torch.dtype) -> torch.dtype:
    """What a model of `dtype` attends in, and keeps its keys and values in."""
    return torch.float64 if dtype is torch.float32 else dtype


def visibility(positions_QR: Tensor, *, num_keys: int, dtype: torch.dtype) -> Tensor:
    """[Q, R, 1, 1, K]: 0 for keys up to the token's own position, -inf beyond."""
    hidden = torch.arange(num_keys) > positions_QR[..., None]
    return torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, -torch.inf)[:, :, None, None]


def attend(queries_QRHGD: Tensor, keys_RHKD: Tensor, values_RHKD: Tensor, mask_QR11K: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(D) + mask) V, [Q, R, H, G, D] in the precision of keys and values."""
    num_positions, num_rows, num_heads, per_head, size = queries_QRHGD.shape
    num_keys, entries = keys_RHKD.shape[2], num_rows * num_heads
    queries = queries_QRHGD.to(keys_RHKD.dtype).reshape(num_positions, entries, per_head, size) * size**-0.5
    keys, values = keys_RHKD.flatten(0, 1).transpose(1, 2), values_RHKD.flatten(0, 1)
    scores = queries.new_empty(num_positions, entries, per_head, num_keys)
    for position in range(num_positions):
        torch.bmm(queries[position], keys, out=scores[position])
    scores.view(*queries_QRHGD.shape[:-1], num_keys).add_(mask_QR11K)
    shares = torch.softmax(scores, -1)
    mixed = torch.empty_like(queries)
    for position in range(num_positions):
        torch.bmm(shares[position, ..., :_KEY_BLOCK], values[:, :_KEY_BLOCK], out=mixed[position])
        for start in range(_KEY_BLOCK, num_keys, _KEY_BLOCK):
            end = start + _KEY_BLOCK
            mixed[position] += torch.bmm(shares[position, ..., start:end], values[:, start:end])
    return mixed.view(queries_QRHGD.shape)
