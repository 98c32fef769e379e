"""A Hugging Face directory as the learner sees it: tokens in, log-probability and entropy of chosen tokens out.

B sequences, S positions (prompt and completion, padded on the right), N completion tokens, H hidden, V vocabulary.

Rows are padded on the right and attention is causal, so no real token ever sees a pad and no mask is needed.  Or they
are packed: laid end to end without pads, P positions in all, each with the positions it would have alone, and attention
is computed row by row.  There is no dropout, and no [B, S, V] logits exist.  Models whose logits are more than a matrix
product (soft-capped, scaled) are refused, and packing is refused for models that look across rows by other means than
attention.

In float32 on one thread of a CPU, a token's numbers do not depend on the pass it is in, and are those of the local
engine, bit for bit: matrix products of 16 rows or more are the same row by row, everything else is too, and attention
is computed in float64 and rounded once (attention.py).  With adapters the first holds from rank 2 on (a product of one
column depends on how many rows there are), and the second to rounding only: an engine computes with W + scale B A, the
learner adds the two products.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from rlvr_api import ModelSpec, RLVRJobSpec
from rlvr_trainer.algorithms.logits import token_statistics
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.learner.attention import PACKED, PADDED
from rlvr_trainer.learner.weights import Adapters, Weight, published, trained
from rlvr_trainer.models.folder import checked_folder

_FEWEST_ROWS: Final = 16
"""Below, MKL's matrix products depend on how many rows there are."""


class Policy(nn.Module):
    """A causal language model that is asked about chosen tokens only."""

    def __init__(
        self, model: Any, *, temperature: float, packs: bool = False, adapters: Adapters | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature
        self.packs = packs
        self.adapters = adapters

    def at(self, *, temperature: float) -> Policy:
        """The same weights at another temperature."""
        return Policy(self.model, temperature=temperature, packs=self.packs, adapters=self.adapters)

    def trained(self) -> dict[str, nn.Parameter]:
        """What the optimizer moves and a checkpoint holds, by name."""
        return trained(self.model, self.adapters)

    def published(self) -> list[Weight]:
        """Every weight of the base model, once."""
        return published(self.model, self.adapters)

    def forward(
        self, tokens_BS: Tensor, lengths_B: Tensor, predictors_N: Tensor, targets_N: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log-probability of the targets and entropy in nats, [N] float32, of the distribution that was sampled from.

        `predictors_N` are flat places in [B * S]: the hidden state there predicts the target.
        """
        num_tokens, hidden = len(targets_N), self._packed if self.packs else self._padded
        hidden_NH = hidden(tokens_BS, lengths_B, _lengthened(predictors_N))
        head = self.model.get_output_embeddings()
        logprob_N, entropy_N = token_statistics(
            _halved(hidden_NH),
            _halved(head.weight),
            _lengthened(targets_N),
            temperature=self.temperature,
            bias_V=head.bias,
        )
        return logprob_N[:num_tokens], entropy_N[:num_tokens]

    def _padded(self, tokens_BS: Tensor, _lengths_B: Tensor, places_N: Tensor) -> Tensor:
        hidden_BSH = self.model.base_model(input_ids=_widened(tokens_BS), use_cache=False).last_hidden_state
        kept_BSH: Tensor = hidden_BSH[:, : tokens_BS.shape[1]]
        return kept_BSH.flatten(0, 1).index_select(0, places_N)

    def _packed(self, tokens_BS: Tensor, lengths_B: Tensor, places_N: Tensor) -> Tensor:
        positions_BS = torch.arange(tokens_BS.shape[1], device=tokens_BS.device).expand_as(tokens_BS)
        real_BS = positions_BS < lengths_B[:, None]
        tokens_P, positions_P = tokens_BS[real_BS], positions_BS[real_BS]
        pads = max(0, _FEWEST_ROWS - len(tokens_P))
        hidden_1PH = self.model.base_model(
            input_ids=nn.functional.pad(tokens_P, (0, pads))[None],
            position_ids=torch.cat([positions_P, torch.arange(pads, device=positions_P.device)])[None],
            row_lengths=(*lengths_B.tolist(), *([pads] if pads else [])),
            use_cache=False,
        ).last_hidden_state
        places_BS = real_BS.flatten().cumsum(0) - 1
        packed_PH: Tensor = hidden_1PH[0]
        return packed_PH.index_select(0, places_BS[places_N])


def _halved(factor: Tensor) -> Tensor:
    """A factor of the logits as autocast would have it; on a CPU, where half precision is no faster, as it is."""
    if factor.is_cuda and torch.is_autocast_enabled("cuda"):
        return factor.to(torch.get_autocast_dtype("cuda"))
    return factor


def _widened(tokens_BS: Tensor) -> Tensor:
    """With so many pads that there are `_FEWEST_ROWS` tokens."""
    num_rows, width = tokens_BS.shape
    return nn.functional.pad(tokens_BS, (0, max(0, -(-_FEWEST_ROWS // num_rows) - width)))


def _lengthened(values_N: Tensor) -> Tensor:
    """With so many zeros that there are `_FEWEST_ROWS` values."""
    return nn.functional.pad(values_N, (0, max(0, _FEWEST_ROWS - len(values_N))))


def open_policy(folder: Path, spec: RLVRJobSpec) -> Policy:
    """The policy that the job trains, on the CPU; InvalidInput for what cannot be trained as the job says."""
    policy = open_base(folder, spec)
    lora = spec.training.lora
    if lora is not None:
        policy.adapters = _adapters_module().attach(
            policy.model, lora, seed=spec.training.seed, folder=folder, base=_known_as(spec.model)
        )
    return policy


def open_base(folder: Path, spec: RLVRJobSpec) -> Policy:
    """The base model as the job asks it."""
    return load_policy(
        folder,
        temperature=spec.rollout.sampling.temperature,
        packs=spec.training.packing,
        recomputes=spec.training.activation_checkpointing,
    )


def _adapters_module() -> Any:
    """Imported late: PEFT takes seconds."""
    try:
        return importlib.import_module("rlvr_trainer.learner.adapters")
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"training.lora needs the package {error.name}: install rlvr-operator[learner], or drop training.lora."
        ) from error


def _known_as(spec: ModelSpec) -> str:
    return spec.hub.repository if spec.hub is not None else spec.path or spec.builtin or ""


def load_policy(folder: Path, *, temperature: float, packs: bool = False, recomputes: bool = False) -> Policy:
    """The model in `folder` with float32 weights, ready to train; InvalidInput names what is missing or wrong.

    `recomputes`: a layer's activations are computed again in the backward pass instead of being kept.
    """
    model = _load(checked_folder(folder))
    _check_head(model, folder)
    if packs:
        _enable_packing(model, folder)
    if recomputes:
        _enable_recomputing(model, folder)
    return Policy(model, temperature=temperature, packs=packs)


def _enable_recomputing(model: Any, folder: Path) -> None:
    if not model.supports_gradient_checkpointing:
        raise InvalidInput(
            f"{folder}: {type(model).__name__} cannot compute its activations again. Set "
            "training.activationCheckpointing to false."
        )
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            # A layer asks whether it is in training, its parts do not drop out.
            module.training = True


@torch.no_grad()
def _enable_packing(model: Any, folder: Path) -> None:
    """InvalidInput unless a row's hidden states are the same alone and behind another row."""
    tokens_S = torch.arange(24) % model.get_input_embeddings().weight.shape[0]
    alone_SH = model.base_model(input_ids=tokens_S[None, 10:], use_cache=False).last_hidden_state[0]
    model.set_attn_implementation(PACKED)
    positions_S = torch.cat([torch.arange(10), torch.arange(14)])
    try:
        packed_SH = model.base_model(
            input_ids=tokens_S[None], position_ids=positions_S[None], row_lengths=(10, 14), use_cache=False
        ).last_hidden_state[0]
    except TypeError:
        packed_SH = None
    if packed_SH is None or not torch.allclose(packed_SH[10:], alone_SH, rtol=1e-3, atol=1e-3):
        raise InvalidInput(
            f"{folder}: rows of {type(model).__name__} cannot lie end to end: one would see the other. Set "
            "training.packing to false."
        )


def _load(folder: Path) -> Any:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation=PADDED, local_files_only=True, output_loading_info=True
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
