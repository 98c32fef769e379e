"""The learner's attention, as transformers finds it by name: for padded rows, and for rows that lie end to end.

A row's numbers are the same under both, whatever rows are beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

PADDED: Final = "rlvr"
PACKED: Final = "rlvr_packed"


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """The attention of transformers' `sdpa`, where float32 on a CPU is computed in float64 and rounded once."""
    if query.dtype is torch.float32 and query.device.type == "cpu":
        query, key, value = query.double(), key.double(), value.double()
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)[0].float(), None
    mixed: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return mixed


def _attend_packed(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _attention_mask: None,
    *,
    row_lengths: Sequence[int],
    **options: Any,
) -> tuple[Tensor, None]:
    """Row by row of what lies end to end, each as if it were alone: no place of [P, P] is computed for nothing."""
    window = options.get("sliding_window")
    rows = zip(*(torch.split(states, list(row_lengths), dim=2) for states in (query, key, value)), strict=True)
    found = [_attend(module, q, k, v, _window_mask(q, window), **options)[0] for q, k, v in rows]
    return torch.cat(found, dim=1), None


def _window_mask(query: Tensor, window: int | None) -> Tensor | None:
    """Where a row is longer than a sliding window: [1, 1, S, S], true where a place may look."""
    size = query.shape[2]
    if window is None or size <= window:
        return None
    places = torch.arange(size, device=query.device)
    distance = places[:, None] - places
    return ((distance >= 0) & (distance < window))[None, None]


def _no_mask(*_: Any, **__: Any) -> None:
    """Boundaries are in `row_lengths`."""


AttentionInterface.register(PADDED, _attend)
AttentionMaskInterface.register(PADDED, sdpa_mask)
AttentionInterface.register(PACKED, _attend_packed)
AttentionMaskInterface.register(PACKED, _no_mask)
