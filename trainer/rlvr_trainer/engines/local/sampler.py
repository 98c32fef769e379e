"""From logits to one token per row, reproducibly.

The noise of a token depends on its completion's seed and its index in the completion and on nothing else; no generator
is shared, so neighbours, pauses and order of arrival change nothing.  Log-probabilities are those of the distribution
that is sampled from: after temperature (the one chosen by entropy, where there are two), top-k and top-p (vLLM's
`processed_logprobs`); greedy rows report temperature 1.

R rows, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Uint64s = npt.NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BITS = 48
"""Of each uniform number: below 53, so that its product with a total stays below that total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """What each row excludes, [R] each: ranks from `top_k` on, and the tail beyond `top_p`."""

    top_k: Tensor
    top_p: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Forks:
    """Where each row forks and at which temperature, [R] each; a row without forks has an infinite threshold."""

    thresholds: Tensor
    temperatures: Tensor


def uniforms(seeds: Uint64s, indices: Uint64s) -> npt.NDArray[np.float64]:
    """One number in [0, 1) per (seed, token index), by two rounds of splitmix64 (Steele et al. 2014)."""
    mixed = _mix(_mix(seeds + _GOLDEN) ^ (indices * _GOLDEN + _GOLDEN))
    return (mixed >> np.uint64(64 - _BITS)).astype(np.float64) * 2.0**-_BITS


def entropies(logits: Tensor) -> Tensor:
    """[R] float64: -sum p ln p at temperature 1, in nats; an excluded token (-inf) adds nothing."""
    shares = torch.softmax(logits, -1, dtype=torch.float64)
    return -torch.xlogy(shares, shares).sum(-1)


def temperatures_by_entropy(logits: Tensor, temperatures: Tensor, forks: Forks) -> Tensor:
    """[R]: the fork's temperature strictly above its threshold, the row's own elsewhere (2506.01939 eq. 5)."""
    return torch.where(entropies(logits) > forks.thresholds, forks.temperatures, temperatures)


def sample(logits: Tensor, temperatures: Tensor, noise: Tensor, filters: Filters | None) -> tuple[Tensor, Tensor]:
    """Tokens [R] int64 and their log-probabilities [R] float32; temperature 0 takes the likeliest token.

    `noise` [R] float64 in [0, 1) picks by inverting the cumulative distribution, summed in float64.
    """
    greedy = temperatures == 0
    scaled = logits / torch.where(greedy, 1.0, temperatures)[:, None]
    if filters is not None:
        scaled = _filtered(scaled, filters)
    cumulative = torch.softmax(scaled, -1, dtype=torch.float64).cumsum(-1)
    targets = (noise * cumulative[:, -1])[:, None]
    drawn = torch.searchsorted(cumulative, targets, right=True).squeeze(-1)
    tokens = torch.where(greedy, logits.argmax(-1), drawn)
    return tokens, torch.log_softmax(scaled, -1).gather(-1, tokens[:, None]).squeeze(-1)


def _filtered(scaled: Tensor, filters: Filters) -> Tensor:
    ordered, order = scaled.sort(dim=-1, descending=True, stable=True)
    shares = torch.softmax(ordered, -1, dtype=torch.float64)
    before = shares.cumsum(-1) - shares
    # The likeliest token always stays; a top_p of 1 keeps all, whatever rounding makes of the sum.
    beyond = (before >= filters.top_p[:, None]) & (filters.top_p < 1)[:, None]
    excluded = beyond | (torch.arange(scaled.shape[-1]) >= filters.top_k[:, None])
    return scaled.masked_fill(torch.empty_like(excluded).scatter_(-1, order, excluded), -torch.inf)


def _mix(values: Uint64s) -> Uint64s:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
