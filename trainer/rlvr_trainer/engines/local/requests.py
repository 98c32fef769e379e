"""What is asked of the engine and what it answers, as plain records.

One request asks for n completions of one prompt; completion i is sampled with seed + i.  Finish reasons are vLLM's.
Parsing and rendering are in `wire_format.py`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


class FinishReason(enum.StrEnum):
    """Why a completion ended."""

    STOP = "stop"
    """An end token, or one of the request's stop tokens."""
    LENGTH = "length"
    """The request's max_tokens or the model's context."""
    ABORT = "abort"
    """The request was given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Tokens before which the policy is undecided are sampled at a temperature of their own."""

    threshold: float
    """Nats of entropy at temperature 1; a fork lies strictly above."""
    temperature: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to sample; already complete and within the model's limits."""

    num_completions: int
    temperature: float
    """0 takes the likeliest token."""
    fork: Fork | None = None
    top_p: float
    top_k: int
    """Vocabulary size when all tokens may be sampled."""
    max_tokens: int
    seed: int
    end_token_ids: tuple[int, ...]
    """The model's own; they end a completion without a stop reason."""
    stop_token_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One prompt to complete."""

    request_id: str
    token_ids: tuple[int, ...]
    sampling: Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRange:
    """Tokens [start, end) were sampled by weights labelled `version`."""

    version: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One finished completion."""

    index: int
    token_ids: npt.NDArray[np.int64]
    logprobs: npt.NDArray[np.float32]
    finish_reason: FinishReason
    stop_reason: int | None
    """The stop token that ended it, unless it was the model's own end token."""
    weight_versions: tuple[VersionRange, ...]
