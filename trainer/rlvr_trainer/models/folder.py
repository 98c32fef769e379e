"""Where a job's base model lies on this machine.

Promises a directory with `config.json`, `tokenizer.json` and safetensors weights, or an error that names what is
missing.
Downloads nothing: a `hub` model must be in the Hugging Face cache, a `path` on a mounted file system.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from rlvr_api import ModelSpec
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.models import builtin_path

_WEIGHTS: Final = ("model.safetensors", "model.safetensors.index.json")


def model_folder(spec: ModelSpec, *, environment: Mapping[str, str] = os.environ) -> Path:
    """The checked Hugging Face directory of `spec.model`; InvalidInput when there is none."""
    return checked_folder(_located(spec, environment))


def checked_folder(folder: Path) -> Path:
    """`folder` itself, once it has everything a model needs; InvalidInput otherwise."""
    if not folder.is_dir():
        raise InvalidInput(
            f"model directory {folder} does not exist; set model.path to a Hugging Face model directory."
        )
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in _WEIGHTS):
        missing.append(" or ".join(_WEIGHTS))
    if missing:
        raise InvalidInput(
            f"model directory {folder} has no {', no '.join(missing)}. Write it with save_pretrained() of the model "
            "and of its fast tokenizer, or set model.path to the directory that has them."
        )
    return folder


def _located(spec: ModelSpec, environment: Mapping[str, str]) -> Path:
    if spec.builtin is not None:
        return builtin_path(spec.builtin)
    if spec.path is not None:
        return _from_path(spec.path)
    assert spec.hub is not None, "the job type admits exactly one source"
    return _from_hub_cache(spec.hub.repository, spec.hub.revision, environment)


def _from_path(path: str) -> Path:
    parts = urlsplit(path)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if parts.scheme and len(parts.scheme) > 1:
        raise InvalidInput(
            f"model.path {path!r} is not on this machine. Copy it to a directory that every role can read, "
            "and name that directory."
        )
    return Path(path).expanduser()


def _from_hub_cache(repository: str, revision: str, environment: Mapping[str, str]) -> Path:
    home = Path(environment.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(environment.get("HF_HUB_CACHE", home / "hub")) / f"models--{repository.replace('/', '--')}"
    reference = cache / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    snapshot = cache / "snapshots" / commit
    if not snapshot.is_dir():
        raise InvalidInput(
            f"model.hub {repository!r} at {revision!r} is not in the Hugging Face cache ({cache.parent}). "
            f"Fetch it first: hf download {repository} --revision {revision}"
        )
    return snapshot
