"""Keys and values of the running sequences, one slot each.

Slots [0, n) are the running sequences, so a decode step works on views without gathering.  Room grows to the longest
sequence admitted so far and is not given back; pages never written cost no memory.

L layers, S slots, H key-value heads, C positions, D head size, N tokens and R sequences of one pass.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from rlvr_trainer.engines.local.architecture import Architecture
from rlvr_trainer.engines.local.attention import precision_of

POSITION_STEP: Final = 64
"""Positions are added in multiples of this."""


class KeyValueCache:
    """[L, 2, S, H, C, D]: keys at index 0, values at index 1."""

    def __init__(self, architecture: Architecture, *, slots: int, dtype: torch.dtype) -> None:
        heads, size = architecture.num_kv_heads, architecture.head_dim
        shape = (architecture.num_layers, 2, slots, heads, POSITION_STEP, size)
        self.cells = torch.zeros(shape, dtype=precision_of(dtype))

    @property
    def positions(self) -> int:
        return self.cells.shape[4]

    def reserve(self, positions: int, *, used_slots: int) -> None:
        """Make room for sequences of `positions` tokens, keeping the first `used_slots` slots."""
        if positions <= self.positions:
            return
        shape = list(self.cells.shape)
        shape[4] = -(-positions // POSITION_STEP) * POSITION_STEP
        # Zeros, not garbage: padded keys get weight 0, and 0 * NaN would be NaN.
        grown = torch.zeros(shape, dtype=self.cells.dtype)
        grown[:, :, :used_slots, :, : self.positions] = self.cells[:, :, :used_slots]
        self.cells = grown

    def places(self, slots_N: Tensor, positions_N: Tensor) -> Tensor:
        """Where `write` puts each token's keys and values: flat indices in the order [N, 2, H]."""
        _, _, slots, heads, room, _ = self.cells.shape
        halves = torch.arange(2)[None, :, None] * slots
        by_head = (halves + slots_N[:, None, None]) * heads + torch.arange(heads)
        return (by_head * room + positions_N[:, None, None]).flatten()

    def write(self, layer: int, places: Tensor, keys_values_N2HD: Tensor) -> None:
        """Enter keys and values of N tokens."""
        flat = self.cells[layer].view(-1, self.cells.shape[5])
        flat.index_copy_(0, places, keys_values_N2HD.to(flat.dtype).view(-1, self.cells.shape[5]))

    def read(self, layer: int, slots: slice, *, num_keys: int) -> tuple[Tensor, Tensor]:
        """Keys and values as views [R, H, K, D]."""
        seen = self.cells[layer, :, slots, :, :num_keys]
        return seen[0], seen[1]

    def copy_slot(self, source: int, target: int, *, positions: int) -> None:
        """Repeat the first `positions` positions of one slot in another."""
        self.cells[:, :, target, :, :positions] = self.cells[:, :, source, :, :positions]
