"""Order statistics of numbers that are spread over ranks: exact, and the same for every way of spreading them.

B rows, T places, N numbers of this rank, V integer values.  Nothing is gathered: ranks exchange counts of numbers that
share their leading bits (a radix search), 65,536 at a time, so neither memory nor traffic grows with the batch.
Numbers are float32 or float64; half precision is read as float32.  No NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

_DIGIT_BITS: Final = 16
_DIGITS: Final = 1 << _DIGIT_BITS
_TOKEN_BITS: Final = 32
"""A row has fewer tokens than this many bits can count."""


def _alone(counts: Tensor) -> Tensor:
    return counts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Share:
    """Which rows of the step a rank holds."""

    rows_B: Tensor | None = None
    """Each row's place in the step: prompt by prompt, completion by completion.  Absent: 0, 1, 2, ..."""
    add: Callable[[Tensor], Tensor] = _alone
    """Sum of an int64 tensor over all ranks (an all-reduce), called by every rank alike."""

    def total(self, count: Tensor) -> int:
        return int(self.add(count.to(torch.int64)))


WHOLE: Final = Share()
"""All rows of the step, in order."""


def first_in_order(values_BT: Tensor, mask_BT: Tensor, *, count: int, of: Share = WHOLE) -> Tensor:
    """[B, T] bool: the `count` smallest of the masked values, over all ranks.

    Among equals at the edge the first ones by row of the step, then by place in the row.  Exactly `count` in all, or
    every masked one where there are fewer.
    """
    keys_N, wanted = _sortable(values_BT[mask_BT]), min(count, of.total(mask_BT.sum()))
    if wanted <= 0:
        return torch.zeros_like(mask_BT)
    (edge,), (before,) = _search(keys_N, [wanted - 1], bits=_bits(values_BT), of=of)
    tied_N = keys_N == edge
    places_N = _places(mask_BT, of)
    (last,), _ = _search(places_N[tied_N], [wanted - before - 1], bits=64, of=of)
    return torch.zeros_like(mask_BT).masked_scatter(mask_BT, (keys_N < edge) | (tied_N & (places_N <= last)))


def order_statistics(values_N: Tensor, places: Sequence[int], *, of: Share = WHOLE) -> Tensor:
    """[Q] the numbers at the given places of the ascending order over all ranks; place 0 is the smallest."""
    keys, _ = _search(_sortable(values_N), places, bits=_bits(values_N), of=of)
    return _unsorted(torch.tensor(keys, device=values_N.device), values_N.dtype)


def _search(keys_N: Tensor, places: Sequence[int], *, bits: int, of: Share) -> tuple[list[int], list[int]]:
    """The key at each place in ascending order, and how many keys are smaller."""
    prefixes, before = [0] * len(places), [0] * len(places)
    for low_bit in range(bits - _DIGIT_BITS, -1, -_DIGIT_BITS):
        distinct = sorted(set(prefixes))
        counts = of.add(torch.stack([_histogram(keys_N, prefix, low_bit, bits=bits) for prefix in distinct]))
        reached = dict(zip(distinct, counts.cumsum(-1).cpu(), strict=True))
        for index, place in enumerate(places):
            upto_V = reached[prefixes[index]]
            digit = int(torch.searchsorted(upto_V, place - before[index], right=True))
            before[index] += int(upto_V[digit - 1]) if digit else 0
            prefixes[index] = (prefixes[index] << _DIGIT_BITS) | digit
    offset = 1 << (bits - 1)
    return [prefix - offset for prefix in prefixes], before


def _histogram(keys_N: Tensor, prefix: int, low_bit: int, *, bits: int) -> Tensor:
    """How many keys that begin with `prefix` have each next digit; the sign bit is turned, so that order is kept."""
    high_bit = low_bit + _DIGIT_BITS
    if high_bit < bits:
        keys_N = keys_N[(keys_N >> high_bit) == prefix - (1 << (bits - high_bit - 1))]
    digits_N = (keys_N >> low_bit) & (_DIGITS - 1)
    if high_bit == bits:
        digits_N = digits_N ^ (_DIGITS >> 1)
    return torch.bincount(digits_N, minlength=_DIGITS)


def _places(mask_BT: Tensor, of: Share) -> Tensor:
    """One integer per masked value that orders them by row of the step, then by place."""
    rows_B, tokens_T = (torch.arange(size, device=mask_BT.device) for size in mask_BT.shape)
    if of.rows_B is not None:
        rows_B = of.rows_B.to(mask_BT.device)
    return ((rows_B[:, None] << _TOKEN_BITS) | tokens_T)[mask_BT]


def _bits(values: Tensor) -> int:
    return 64 if values.dtype == torch.float64 else 32


def _sortable(values_N: Tensor) -> Tensor:
    """Int64 keys in the order of the numbers: their bits, those of negative numbers turned; -0 is 0."""
    if values_N.dtype == torch.float64:
        bits_N, magnitude = (values_N + 0.0).view(torch.int64), torch.iinfo(torch.int64).max
    else:
        bits_N, magnitude = (values_N.float() + 0.0).view(torch.int32).long(), torch.iinfo(torch.int32).max
    return torch.where(bits_N < 0, bits_N ^ magnitude, bits_N)


def _unsorted(keys_N: Tensor, dtype: torch.dtype) -> Tensor:
    """The reverse of `_sortable`."""
    if dtype == torch.float64:
        return torch.where(keys_N < 0, keys_N ^ torch.iinfo(torch.int64).max, keys_N).view(torch.float64)
    bits_N = torch.where(keys_N < 0, keys_N ^ torch.iinfo(torch.int32).max, keys_N).to(torch.int32)
    return bits_N.view(torch.float32).to(dtype)
