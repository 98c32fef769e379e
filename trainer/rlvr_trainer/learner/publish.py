"""The learner's weights as a policy that rollouts can load: a Hugging Face directory, sealed under its label.

What surrounds the weights (configuration, tokenizer) is the base model's; weights that share memory are written once,
and those of a large model in several files with an index.  Adapters are part of the weights, and beside them by
themselves in the folder `adapter`, as PEFT reads them.  The coordinator learns of a policy by policy.json.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from rlvr_trainer.learner.exchange import write_renamed
from rlvr_trainer.learner.weights import AdapterFiles
from rlvr_trainer.storage.policies import prune, seal_policy
from rlvr_trainer.storage.signatures import SIGNATURE, Signature
from rlvr_trainer.wire import to_json

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
ADAPTER: Final = "adapter"
LARGEST_FILE: Final = 4 * 2**30
"""Bytes of weights in one file."""
_SURROUNDINGS: Final = (
    "generation_config.json",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
)


class Publisher:
    """Publishes one policy after the other from a base model's surroundings."""

    def __init__(
        self, base: Path, *, folder: Path, announcement: Path, keep: int, largest_file: int = LARGEST_FILE
    ) -> None:
        self._folder = folder
        self._largest_file = largest_file
        self._announcement = announcement
        self._keep = keep
        self._config: dict[str, Any] = json.loads((base / CONFIG).read_bytes())
        self._surroundings = {path for pattern in _SURROUNDINGS for path in base.glob(pattern) if path.is_file()}

    @property
    def vocabulary(self) -> int:
        """Tokens the model knows."""
        size: int = self._config.get("text_config", self._config)["vocab_size"]
        return size

    def publish(
        self,
        step: int,
        weights: dict[str, Tensor],
        *,
        signature: Signature | None = None,
        adapter: AdapterFiles | None = None,
    ) -> str:
        """Seal and announce the policy of `step` finished steps; returns its label."""
        draft = self._folder / ".draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for path in self._surroundings:
            shutil.copyfile(path, draft / path.name)
        (draft / CONFIG).write_text(json.dumps(with_dtype(self._config, _dtype_of(weights)), indent=2))
        write_weights(draft, weights, largest_file=self._largest_file)
        if signature is not None:
            (draft / SIGNATURE).write_bytes(to_json(signature))
        if adapter is not None:
            adapter.write(draft / ADAPTER)
        label = seal_policy(draft, step=step)
        write_renamed(self._announcement, to_json({"step": step, "label": label}))
        prune(self._folder, keep=self._keep, protected={label})
        return label


class Unheard(Publisher):
    """The publisher of every other rank: rank 0 publishes for all."""

    def publish(
        self,
        step: int,  # noqa: ARG002
        weights: dict[str, Tensor],  # noqa: ARG002
        *,
        signature: Signature | None = None,  # noqa: ARG002
        adapter: AdapterFiles | None = None,  # noqa: ARG002
    ) -> str:
        return ""


def write_weights(folder: Path, weights: dict[str, Tensor], *, largest_file: int) -> None:
    """One file, or several with the index that transformers and vLLM read where one would be larger than allowed."""
    parts = split_by_size({name: tensor.nbytes for name, tensor in weights.items()}, largest=largest_file)
    if len(parts) == 1:
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
        return
    places: dict[str, str] = {}
    for number, names in enumerate(parts, start=1):
        file = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        save_file({name: weights[name] for name in names}, folder / file, metadata={"format": "pt"})
        places |= dict.fromkeys(names, file)
    total = sum(tensor.nbytes for tensor in weights.values())
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": places}, indent=2))


def split_by_size(sizes: Mapping[str, int], *, largest: int) -> tuple[tuple[str, ...], ...]:
    """Names in their order, as many in a part as fit `largest` together, at least one."""
    parts: list[list[str]] = [[]]
    room = largest
    for name, size in sizes.items():
        if parts[-1] and size > room:
            parts.append([])
            room = largest
        parts[-1].append(name)
        room -= size
    return tuple(map(tuple, parts))


def with_dtype(config: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """`config` saying in which precision the weights beside it are stored, as `dtype` and older `torch_dtype`."""
    stored = str(dtype).removeprefix("torch.")
    keys = [key for key in ("dtype", "torch_dtype") if key in config] or ["dtype"]
    return config | dict.fromkeys(keys, stored)


def _dtype_of(weights: dict[str, Tensor]) -> torch.dtype:
    return next(iter(weights.values())).dtype
