"""The signature of a policy: what its weights say about fixed tokens, asked of them as they are published."""

from __future__ import annotations

import torch

from rlvr_api import ModelSpec
from rlvr_trainer.learner.backends.base import Backend
from rlvr_trainer.learner.microbatches import MicroBatch
from rlvr_trainer.storage.signatures import TOLERANCES, Signature, fixed_tokens


@torch.no_grad()
def sign(backend: Backend, spec: ModelSpec, *, vocabulary: int) -> Signature:
    """Signature of the weights that `backend` holds now; collective, as every question to a backend."""
    tokens = fixed_tokens(vocabulary, max_context=spec.max_context)
    logprob_N, _ = backend.untempered().statistics(_pass_over(tokens, device=backend.device))
    return Signature(token_ids=tokens, logprobs=tuple(logprob_N.tolist()), tolerance=TOLERANCES[spec.dtype])


def _pass_over(tokens: tuple[int, ...], *, device: torch.device) -> MicroBatch:
    """One row that is all completion but for its first token."""
    tokens_1S = torch.tensor([tokens], device=device)
    num_targets = len(tokens) - 1
    return MicroBatch(
        rows_M=torch.zeros(1, dtype=torch.long, device=device),
        tokens_MS=tokens_1S,
        lengths_M=torch.tensor([len(tokens)], device=device),
        mask_MT=torch.ones(1, num_targets, dtype=torch.bool, device=device),
        predictors_N=torch.arange(num_targets, device=device),
        targets_N=tokens_1S[0, 1:],
    )
