"""The backend: every worker reads the folder itself, and nothing is touched before the folder is known to fit.

vLLM's own `reload_weights` has two faults that this one has not: a folder that lacks weights leaves layers without any,
which kills the engine at its next step; and where the output layer is the embedding, the copy of it that a CPU had
prepared at the start stays in use, silently.  The one module that imports vLLM.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import safe_open
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.model_loader.reload.layerwise import finalize_layerwise_reload, initialize_layerwise_reload
from vllm.platforms import current_platform

_PATTERN: Final = "*.safetensors"
_SHARED: Final = ("lm_head.weight",)
"""May be left out of a folder when it is the embedding."""

Shapes = dict[str, tuple[int, ...]]


@dataclass
class InitInfo(WeightTransferInitInfo):
    """Nothing to prepare; says which backend is meant."""

    safetensors_dir: bool = True


@dataclass
class UpdateInfo(WeightTransferUpdateInfo):
    """Where the new weights are."""

    path: str = ""


class DirectoryEngine(WeightTransferEngine[InitInfo, UpdateInfo]):
    """Loads Hugging Face folders that every worker can read."""

    init_info_cls = InitInfo
    update_info_cls = UpdateInfo
    supports_draft_weight_update = False
    _shapes: Shapes | None = None
    """Of the folder that this model was made from; every later one must have the same."""

    def init_transfer_engine(self, _: InitInfo) -> None:
        """Remember what the model's first folder holds."""
        if self._shapes is None:
            self._shapes = shapes_in(Path(self.model_config.model))

    def start_weight_update(self) -> None:
        """Nothing is given up before the folder is known to be whole: see `update_weights`."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """As vLLM's own, without waiting for an accelerator where there is none."""
        self.receive_weights(self.parse_update_info(update_info))
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: UpdateInfo) -> None:
        """Replace every weight by that in the folder; ValueError before anything changed if it does not fit."""
        folder = Path(update_info.path)
        optional = _SHARED if _is_tied(self.model) else ()
        expect_same(self._shapes or {}, shapes_in(folder), folder, optional=optional)
        initialize_layerwise_reload(self.model)
        self.model.load_weights(_tensors(folder))
        finalize_layerwise_reload(self.model, self.model_config)
        _refresh_tied_head(self.model)

    def finish_weight_update(self) -> None:
        """All done by then."""

    def shutdown(self) -> None:
        """Nothing is held."""


def register_backend(name: str) -> None:
    """Tell vLLM's factory, once in each process."""
    if name not in WeightTransferEngineFactory._registry:  # noqa: SLF001 - it offers no question, only an error
        WeightTransferEngineFactory.register_engine(name, DirectoryEngine)


def shapes_in(folder: Path) -> Shapes:
    """Name and shape of every tensor in a folder; reads headers only."""
    found: Shapes = {}
    for path in sorted(folder.glob(_PATTERN)):
        with safe_open(path, "pt") as file:
            found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return found


def expect_same(ours: Shapes, theirs: Shapes, folder: Path, *, optional: Collection[str] = ()) -> None:
    """ValueError names the first tensor by which a folder is not one of our model; `optional` may be there or not."""
    if not theirs:
        raise ValueError(f"{folder} holds no safetensors.")
    names = sorted((ours.keys() | theirs.keys()) - set(optional)) if ours else []
    for name in names:
        if ours.get(name) != theirs.get(name):
            raise ValueError(
                f"{folder}: tensor {name!r} is {theirs.get(name, 'absent')}, but the model that is served has "
                f"{ours.get(name, 'none')}; nothing was changed."
            )


def _tensors(folder: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for path in sorted(folder.glob(_PATTERN)):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no mapping
                yield name, file.get_tensor(name)


def _is_tied(model: torch.nn.Module) -> bool:
    return bool(getattr(getattr(model, "config", None), "tie_word_embeddings", False))


def _refresh_tied_head(model: torch.nn.Module) -> None:
    """On a CPU vLLM keeps a packed copy of the output layer, and packs it anew only when a file names that layer."""
    head = getattr(model, "lm_head", None)
    embedding = getattr(getattr(model, "model", None), "embed_tokens", None)
    if not (_is_tied(model) and current_platform.is_cpu()) or head is None or embedding is None or head is embedding:
        return
    from vllm.model_executor.layers.utils import dispatch_cpu_unquantized_gemm  # noqa: PLC0415 - CPU builds only

    head.weight = embedding.weight
    dispatch_cpu_unquantized_gemm(head, remove_weight=False)
