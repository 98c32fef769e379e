"""What a policy thinks of some fixed tokens: a learner writes it beside the weights, and every engine must agree.

An engine can answer `ok` to new weights and keep part of the old ones (vLLM keeps a tied output layer on a CPU); its
log-probabilities tell.  Agreement is the mean absolute difference in nats: one token is at the mercy of rounding,
weights that are not the policy's move them all.  Pure, but for reading one file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from rlvr_trainer.wire import from_json

SIGNATURE: Final = "signature.json"
_NUM_TOKENS: Final = 32
_STRIDE: Final = 7919
TOLERANCES: Final = {"float32": 1e-4, "bfloat16": 0.1}
"""Nats by the precision of the published weights.  bfloat16 rounds a logit of 16 by up to 0.06, differently in every
engine, so there only gross errors show."""


class Signature(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Tokens, and the log-probability of each but the first, at temperature 1."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    tolerance: float
    """Largest mean absolute difference of an engine that holds the policy."""


def fixed_tokens(vocabulary: int, *, max_context: int | None = None) -> tuple[int, ...]:
    """The tokens that are asked about: the same for every policy of a model, all over its vocabulary."""
    most = _NUM_TOKENS if max_context is None else min(_NUM_TOKENS, max_context - 1)
    return tuple((1 + index * _STRIDE) % vocabulary for index in range(most))


def difference(signature: Signature, logprobs: Sequence[float]) -> float:
    """Mean absolute difference in nats; infinite when it cannot be said."""
    if len(logprobs) != len(signature.logprobs):
        return math.inf
    gaps = [abs(expected - found) for expected, found in zip(signature.logprobs, logprobs, strict=True)]
    mean = sum(gaps) / len(gaps)
    return mean if math.isfinite(mean) else math.inf


def read_signature(folder: Path) -> Signature | None:
    """That of the policy in `folder`; None when its learner wrote none."""
    path = folder / SIGNATURE
    return from_json(path.read_bytes(), Signature) if path.exists() else None
