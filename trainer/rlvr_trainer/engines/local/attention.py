"""Attention whose result for a token depends on nothing but that token's own sequence, bit for bit.

Every token, prefilled or decoded, is one entry of a batched product with the same [queries per head, head size] shape.
Measured with MKL in float32 on one thread: an entry keeps its bits whatever else is in the batch and however many keys
are padded, as long as padding is exact zeros, a product has 400 elements or more (below, torch uses another kernel) and
no sum spans more than 256 keys (above, MKL splits it by total length).  `tests/unit/engines` proves it anew on every
machine; other data types and thread counts give the same distribution, not the same bits.

N tokens, H key-value heads, G queries per key-value head, K keys, D head size (at least 16).
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


def visibility(positions_N: Tensor, *, num_keys: int, dtype: torch.dtype) -> Tensor:
    """[N, 1, 1, K]: 0 for keys up to the token's own position, -inf beyond."""
    hidden = torch.arange(num_keys) > positions_N[:, None]
    return torch.zeros(hidden.shape, dtype=dtype).masked_fill_(hidden, -torch.inf)[:, None, None, :]


def attend(queries_NHGD: Tensor, keys_NHKD: Tensor, values_NHKD: Tensor, mask_N11K: Tensor) -> Tensor:
    """softmax(Q K^T + mask) V as [N, H * G * D]; the queries carry the scale."""
    num_tokens, num_heads, per_head, size = queries_NHGD.shape
    num_keys = keys_NHKD.shape[2]
    queries = queries_NHGD.reshape(num_tokens * num_heads, per_head, size)
    keys, values = keys_NHKD.flatten(0, 1), values_NHKD.flatten(0, 1)
    scores = torch.bmm(queries, keys.transpose(1, 2)).view(num_tokens, num_heads, per_head, num_keys)
    shares = torch.softmax(scores.add_(mask_N11K), -1).flatten(0, 1)
    mixed = torch.bmm(shares[..., :_KEY_BLOCK], values[:, :_KEY_BLOCK])
    for start in range(_KEY_BLOCK, num_keys, _KEY_BLOCK):
        mixed += torch.bmm(shares[..., start : start + _KEY_BLOCK], values[:, start : start + _KEY_BLOCK])
    return mixed.view(num_tokens, num_heads * per_head * size)
