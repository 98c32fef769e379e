"""Rotary position tables.

The tables are computed in float32 exactly as transformers does (Su et al. 2021, RoFormer, eq. 34; Llama 3.1's stretch
of low frequencies), so that sampling and learner log-probabilities agree.

N tokens, H heads, D head size, C positions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rlvr_trainer.engines.local.architecture import Architecture, RopeStretch


@dataclass(frozen=True, slots=True)
class RopeTables:
    """Cosines and sines per position, [C, D]; the first half of the sines is negated for `rotate`."""

    cosine_CD: Tensor
    sine_CD: Tensor


def rope_tables(architecture: Architecture, *, positions: int, dtype: torch.dtype) -> RopeTables:
    """Tables for positions [0, `positions`)."""
    size = architecture.head_dim
    exponents = torch.arange(0, size, 2, dtype=torch.int64).float() / size
    frequencies = 1.0 / (architecture.rope_theta**exponents)
    if architecture.rope_stretch is not None:
        frequencies = _stretched(frequencies, architecture.rope_stretch)
    angles = torch.arange(positions).float()[:, None] * frequencies
    cosine, sine = angles.cos(), angles.sin()
    return RopeTables(torch.cat((cosine, cosine), -1).to(dtype), torch.cat((-sine, sine), -1).to(dtype))


def rotate(heads_NHD: Tensor, cosine_N1D: Tensor, sine_N1D: Tensor) -> Tensor:
    """Turn each head by its position's angle."""
    swapped = heads_NHD.roll(heads_NHD.shape[-1] // 2, -1)
    return heads_NHD * cosine_N1D + swapped * sine_N1D


def _stretched(frequencies: Tensor, stretch: RopeStretch) -> Tensor:
    wavelengths = 2 * math.pi / frequencies
    longest, shortest = (
        stretch.original_context / stretch.low_frequency_factor,
        stretch.original_context / stretch.high_frequency_factor,
    )
    slow = torch.where(wavelengths > longest, frequencies / stretch.factor, frequencies)
    smooth = (stretch.original_context / wavelengths - stretch.low_frequency_factor) / (
        stretch.high_frequency_factor - stretch.low_frequency_factor
    )
    blended = (1 - smooth) * slow / stretch.factor + smooth * slow
    between = (wavelengths >= shortest) & (wavelengths <= longest)
    return torch.where(between, blended, slow)
