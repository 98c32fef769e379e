"""A Hugging Face directory as the learner sees it: tokens in, log-probability and entropy of chosen tokens out.

B sequences, S positions (prompt and completion, padded on the right), N completion tokens, H hidden, V vocabulary.

Rows are padded on the right and attention is causal, so no real token ever sees a pad and no mask is needed.  There is
no dropout, and no [B, S, V] logits exist.  Models whose logits are more than a matrix product (soft-capped, scaled) are
refused.

In float32 on one thread of a CPU, a token's numbers do not depend on the pass it is in, and are those of the local
engine, bit for bit: matrix products of 16 rows or more are the same row by row, everything else is too, and attention
is computed in float64 and rounded once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.utils import logging as transformers_logging

from rlvr_trainer.algorithms.logits import token_statistics
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.models.folder import checked_folder

_ATTENTION: Final = "rlvr"
_FEWEST_ROWS: Final = 16
"""Below, MKL's matrix products depend on how many rows there are."""


class Policy(nn.Module):
    """A causal language model that is asked about chosen tokens only."""

    def __init__(self, model: Any, *, temperature: float) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature

    def forward(self, tokens_BS: Tensor, predictors_N: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of the targets and entropy in nats, [N] float32, of the distribution that was sampled from.

        `predictors_N` are flat places in [B * S]: the hidden state there predicts the target.
        """
        num_tokens = len(targets_N)
        hidden_BSH = self.model.base_model(input_ids=_widened(tokens_BS), use_cache=False).last_hidden_state
        hidden_NH = hidden_BSH[:, : tokens_BS.shape[1]].flatten(0, 1).index_select(0, _lengthened(predictors_N))
        head = self.model.get_output_embeddings()
        logprob_N, entropy_N = token_statistics(
            hidden_NH, head.weight, _lengthened(targets_N), temperature=self.temperature, bias_V=head.bias
        )
        return logprob_N[:num_tokens], entropy_N[:num_tokens]


def _widened(tokens_BS: Tensor) -> Tensor:
    """With so many pads that there are `_FEWEST_ROWS` tokens."""
    num_rows, width = tokens_BS.shape
    return nn.functional.pad(tokens_BS, (0, max(0, -(-_FEWEST_ROWS // num_rows) - width)))


def _lengthened(values_N: Tensor) -> Tensor:
    """With so many zeros that there are `_FEWEST_ROWS` values."""
    return nn.functional.pad(values_N, (0, max(0, _FEWEST_ROWS - len(values_N))))


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """The attention of transformers' `sdpa`, where float32 on a CPU is computed in float64 and rounded once."""
    if query.dtype is torch.float32 and query.device.type == "cpu":
        query, key, value = query.double(), key.double(), value.double()
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)[0].float(), None
    mixed: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return mixed


AttentionInterface.register(_ATTENTION, _attend)
AttentionMaskInterface.register(_ATTENTION, sdpa_mask)


def load_policy(folder: Path, *, temperature: float) -> Policy:
    """The model in `folder` with float32 weights, ready to train; InvalidInput names what is missing or wrong."""
    policy = Policy(_load(checked_folder(folder)), temperature=temperature)
    _check_head(policy.model, folder)
    return policy


def _load(folder: Path) -> Any:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=_ATTENTION, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # a broken file surfaces as whatever the model's own code stumbles over
        raise InvalidInput(f"{folder} cannot be loaded as a causal language model: {_first_line(error)}") from error
    absent = sorted(found["missing_keys"])
    if absent:
        raise InvalidInput(
            f"the weights in {folder} lack {len(absent)} of the tensors that its config.json asks for, "
            f"first {absent[0]}. Use the config.json and the weights of one and the same model."
        )
    return model.eval()


@torch.no_grad()
def _check_head(model: Any, folder: Path) -> None:
    """InvalidInput unless logits = hidden W^T + bias, which is all that the fused head computes."""
    tokens_BS = torch.arange(4)[None] % model.get_input_embeddings().weight.shape[0]
    hidden_BSH = model.base_model(input_ids=tokens_BS, use_cache=False).last_hidden_state
    head = model.get_output_embeddings()
    expected_BSV = nn.functional.linear(hidden_BSH, head.weight, head.bias)
    if not torch.allclose(model(input_ids=tokens_BS, use_cache=False).logits, expected_BSV, rtol=1e-3, atol=1e-3):
        raise InvalidInput(
            f"{folder}: the output layer of {type(model).__name__} does more than a matrix product "
            "(soft-capped or scaled logits), which the learner cannot train. Choose another model."
        )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0][:300]
