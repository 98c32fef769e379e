"""Low-rank adapters beside the linear layers of a model, by PEFT.  The one module that imports it.

Every rank makes the same ones: their first values follow from the job's seed alone.  B is zero at first, so training
begins with the base model.  The output head gets none: it is read without its layer being called.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn

from rlvr_api import LoraSpec
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.learner.weights import Adapters, LowRank, fingerprint

_NAME: Final = "default"


def attach(model: Any, spec: LoraSpec, *, seed: int, folder: Path, base: str) -> Adapters:
    """Freeze `model` and put adapters beside its layers; InvalidInput names a layer that it lacks.

    `folder` is where the model comes from, `base` what the adapter's configuration calls it.
    """
    config = LoraConfig(
        task_type="CAUSAL_LM",
        base_model_name_or_path=base,
        r=spec.rank,
        lora_alpha=int(spec.alpha) if spec.alpha.is_integer() else spec.alpha,  # its readers expect a whole number
        target_modules=targets(model, spec.target_modules, folder=folder),
    )
    known = fingerprint(dict(model.named_parameters()))
    model.requires_grad_(requires_grad=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, adapter_name=_NAME)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    return Adapters(
        layers=layers,
        pairs={name: _pair(layer, scale=spec.scale) for name, layer in layers.items()},
        config=_rendered(config),
        base=known,
    )


def targets(model: Any, names: Sequence[str], *, folder: Path) -> list[str]:
    """The layers whose names end with one of `names`, all without names; never the output head."""
    head = model.get_output_embeddings()
    linear = {path: module for path, module in model.named_modules() if isinstance(module, nn.Linear)}
    layers = [path for path, module in linear.items() if module is not head]
    if not layers:
        raise InvalidInput(
            f"{folder}: {type(model).__name__} has no linear layer but its output head, and adapters go beside linear "
            "layers. Drop training.lora."
        )
    unknown = [name for name in names if not any(_ends_with(path, name) for path in layers)]
    if unknown:
        raise InvalidInput(
            f"training.lora.targetModules names {', '.join(unknown)}, and {type(model).__name__} in {folder} has no "
            "such linear layer, its output head aside. Choose from "
            f"{', '.join(sorted({path.rpartition('.')[2] for path in layers}))}."
        )
    return [path for path in layers if not names or any(_ends_with(path, name) for name in names)]


def _ends_with(path: str, name: str) -> bool:
    return path == name or path.endswith(f".{name}")


def _pair(layer: Any, *, scale: float) -> LowRank:
    return LowRank(down_RI=layer.lora_A[_NAME].weight, up_OR=layer.lora_B[_NAME].weight, scale=scale)


def _rendered(config: LoraConfig) -> bytes:
    """adapter_config.json, the same bytes for the same adapters: PEFT's sets have no order."""
    known = {**config.to_dict(), "inference_mode": True}
    return json.dumps({k: sorted(v) if isinstance(v, set) else v for k, v in known.items()}, indent=2).encode()
