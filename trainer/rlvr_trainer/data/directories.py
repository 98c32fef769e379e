"""Hugging Face data set folders, read without the `datasets` package.

Two kinds: what `save_to_disk` leaves (state.json beside Arrow shards, one sub-folder per split under
dataset_dict.json), and a repository's files, where a split is named by a file or a folder
(`data/train-00000-of-00001.parquet`, `test.jsonl`, `validation/part.parquet`).  Loading scripts are never run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rlvr_trainer.data.rows import Chained, JsonLines, Rows, open_arrow, open_parquet
from rlvr_trainer.errors import InvalidInput

_OPENERS: Final = {".parquet": open_parquet, ".jsonl": JsonLines, ".ndjson": JsonLines, ".arrow": open_arrow}
_WORD: Final = re.compile(r"[^-._]+")


def open_directory(folder: Path, *, split: str) -> Rows:
    """All rows of one split of the data set in `folder`."""
    if (folder / "dataset_dict.json").is_file():
        return _open_saved(_split_folder(folder, split))
    if (folder / "state.json").is_file():
        return _open_saved(folder)
    return Chained([_OPENERS[path.suffix](path) for path in _split_files(folder, split)])


def _split_folder(folder: Path, split: str) -> Path:
    splits = _read_json(folder / "dataset_dict.json").get("splits", [])
    if split not in splits:
        raise InvalidInput(f"{folder} has no split {split!r}; it has: {', '.join(splits) or 'none'}. Set split to one.")
    return folder / split


def _open_saved(folder: Path) -> Rows:
    """A folder written by `Dataset.save_to_disk`."""
    state = _read_json(folder / "state.json")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise InvalidInput(f"{folder} was saved with an index mapping. Save it again after dataset.flatten_indices().")
    return Chained([open_arrow(folder / shard["filename"]) for shard in state["_data_files"]])


def _split_files(folder: Path, split: str) -> Sequence[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix in _OPENERS and path.is_file())
    if not files:
        endings = ", ".join(_OPENERS)
        raise InvalidInput(f"{folder} holds no data files ({endings}). Point path to a Hugging Face data set folder.")
    matching = [path for path in files if split in _words(path.relative_to(folder))]
    if not matching:
        names = ", ".join(str(path.relative_to(folder)) for path in files[:8])
        raise InvalidInput(
            f"no file of {folder} belongs to split {split!r}; it has: {names}. A split is named by its file or folder; "
            "set split, or use file.path for a single file."
        )
    subsets = sorted({str(_subset(path.relative_to(folder), split)) for path in matching})
    if len(subsets) > 1:
        raise InvalidInput(
            f"split {split!r} of {folder} is in several subsets: {', '.join(subsets)}. Point path to the one you want."
        )
    return matching


def _words(path: Path) -> set[str]:
    """Names a split can have in `data/train-00000-of-00001.parquet`: data, train, ..."""
    return {*path.parts[:-1], *_WORD.findall(path.stem)}


def _subset(path: Path, split: str) -> Path:
    """The folder that tells two subsets apart: the one above the split's own folder, if it has one."""
    return path.parent.parent if path.parent.name == split else path.parent


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read ({error}). Save the data set again with save_to_disk.") from error
    return found
