"""The running sequences as columns of numbers: row r of every array is slot r of the cache.

Rows [0, n) are in use; a row that ends is overwritten by the last one.  A decode step touches whole columns, never one
sequence at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rlvr_trainer.engines.local.requests import Request, VersionRange
from rlvr_trainer.engines.local.sampler import Filters, Forks, uniforms

_UINT64 = 2**64 - 1
_NO_TOKEN = -1


@dataclass(slots=True, kw_only=True, eq=False)
class Sequence:
    """One completion, waiting or running."""

    request: Request
    index: int
    row: int = _NO_TOKEN
    """Where it runs."""
    filled_by: int = _NO_TOKEN
    """Which generation of weights wrote its keys and values; a stale value makes them unfit for sharing."""
    versions: list[tuple[str, int]] = field(default_factory=list)
    """Label and number of completion tokens when that label began."""

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.request.token_ids)

    @property
    def max_total_tokens(self) -> int:
        return self.num_prompt_tokens + self.request.sampling.max_tokens

    def mark_version(self, label: str, *, num_tokens: int) -> None:
        """Tokens from now on are sampled under `label`."""
        if not self.versions or self.versions[-1][0] != label:
            self.versions.append((label, num_tokens))

    def version_ranges(self, *, num_tokens: int) -> tuple[VersionRange, ...]:
        """Ranges that cover its tokens; labels that sampled nothing are left out."""
        ends = [start for _, start in self.versions[1:]] + [num_tokens]
        spans = zip(self.versions, ends, strict=True)
        return tuple(VersionRange(version=label, start=start, end=end) for (label, start), end in spans if start < end)


class Rows:
    """Columns for `capacity` rows and sequences of up to `max_tokens` tokens."""

    def __init__(self, *, capacity: int, max_tokens: int) -> None:
        self.sequences: list[Sequence] = []
        self.tokens = np.zeros((capacity, max_tokens), dtype=np.int64)
        """Prompt and completion."""
        self.logprobs = np.zeros((capacity, max_tokens), dtype=np.float32)
        """At the position of the token they belong to."""
        self.lengths = np.ones(capacity, dtype=np.int64)
        self.prompt_lengths = np.ones(capacity, dtype=np.int64)
        self.limits = np.ones(capacity, dtype=np.int64)
        self.seeds = np.zeros(capacity, dtype=np.uint64)
        self.temperatures = np.ones(capacity, dtype=np.float32)
        self.fork_thresholds = np.full(capacity, np.inf)
        self.fork_temperatures = np.ones(capacity, dtype=np.float32)
        self.top_k = np.ones(capacity, dtype=np.int64)
        self.top_p = np.ones(capacity, dtype=np.float64)
        self.ends = np.full((capacity, 1), _NO_TOKEN, dtype=np.int64)
        """Tokens that end a row, padded."""
        self.filtered = np.zeros(capacity, dtype=np.bool_)

    @property
    def num_used(self) -> int:
        return len(self.sequences)

    def add(self, sequence: Sequence, *, vocabulary: int) -> None:
        """Take the next row for `sequence`."""
        row, sampling = self.num_used, sequence.request.sampling
        sequence.row = row
        self.sequences.append(sequence)
        self.tokens[row, : sequence.num_prompt_tokens] = sequence.request.token_ids
        self.lengths[row] = self.prompt_lengths[row] = sequence.num_prompt_tokens
        self.limits[row] = sequence.max_total_tokens
        self.seeds[row] = (sampling.seed + sequence.index) & _UINT64
        self.temperatures[row] = sampling.temperature
        self.fork_thresholds[row] = np.inf if sampling.fork is None else sampling.fork.threshold
        self.fork_temperatures[row] = 1.0 if sampling.fork is None else sampling.fork.temperature
        self.top_k[row], self.top_p[row] = sampling.top_k, sampling.top_p
        self.filtered[row] = sampling.top_p < 1 or sampling.top_k < vocabulary
        self._set_ends(row, sampling.end_token_ids + sampling.stop_token_ids)

    def remove(self, row: int) -> int | None:
        """Free `row`; the last row moves there, and its old place is returned if it had one."""
        last = self.num_used - 1
        moved = self.sequences.pop()
        if row == last:
            return None
        moved.row = row
        self.sequences[row] = moved
        length = self.lengths[last]
        self.tokens[row, :length] = self.tokens[last, :length]
        self.logprobs[row, :length] = self.logprobs[last, :length]
        for column in self._settings():
            column[row] = column[last]
        return last

    def newest(self, *, padded: int) -> tuple[Tensor, Tensor]:
        """Newest token and its position for the first `padded` rows; unused rows repeat harmless values."""
        positions = self.lengths[:padded] - 1
        positions[self.num_used :] = 0
        return torch.from_numpy(self.tokens[np.arange(padded), positions]), torch.from_numpy(positions)

    def noise(self, *, padded: int) -> Tensor:
        """One uniform number per row for its next token."""
        indices = (self.lengths[:padded] - self.prompt_lengths[:padded]).astype(np.uint64)
        return torch.from_numpy(uniforms(self.seeds[:padded], indices))

    def filters(self, *, padded: int) -> Filters | None:
        """What rows exclude; None when none does."""
        if not self.filtered[: self.num_used].any():
            return None
        return Filters(top_k=torch.from_numpy(self.top_k[:padded]), top_p=torch.from_numpy(self.top_p[:padded]))

    def forks(self, *, padded: int) -> Forks | None:
        """Where rows fork; None when none does."""
        if np.isinf(self.fork_thresholds[: self.num_used]).all():
            return None
        return Forks(
            thresholds=torch.from_numpy(self.fork_thresholds[:padded]),
            temperatures=torch.from_numpy(self.fork_temperatures[:padded]),
        )

    def append(self, tokens: Tensor, logprobs: Tensor) -> Iterator[int]:
        """Add one token to every used row; yields the rows that are now finished, last first."""
        used = self.num_used
        rows, positions, newest = np.arange(used), self.lengths[:used].copy(), tokens[:used].numpy()
        self.tokens[rows, positions] = newest
        self.logprobs[rows, positions] = logprobs[:used].numpy()
        self.lengths[:used] += 1
        done = (self.ends[:used] == newest[:, None]).any(1) | (self.lengths[:used] >= self.limits[:used])
        return iter(np.flatnonzero(done)[::-1].tolist())

    def num_completion_tokens(self, row: int) -> int:
        return int(self.lengths[row] - self.prompt_lengths[row])

    def _set_ends(self, row: int, ends: tuple[int, ...]) -> None:
        missing = len(ends) - self.ends.shape[1]
        if missing > 0:
            self.ends = np.pad(self.ends, ((0, 0), (0, missing)), constant_values=_NO_TOKEN)
        self.ends[row] = _NO_TOKEN
        self.ends[row, : len(ends)] = ends

    def _settings(self) -> tuple[npt.NDArray[Any], ...]:
        return (
            self.lengths,
            self.prompt_lengths,
            self.limits,
            self.seeds,
            self.temperatures,
            self.fork_thresholds,
            self.fork_temperatures,
            self.top_k,
            self.top_p,
            self.ends,
            self.filtered,
        )
