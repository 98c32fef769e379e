"""A DataSource of the manifest to examples.

Opening finds what is wrong with a file as a whole; a wrong row is found when it is read.  prompts.py reads rows ahead,
so that a job ends before any training.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from rlvr_api.data import DataSource, FileSource
from rlvr_trainer.data.directories import open_directory
from rlvr_trainer.data.examples import Columns, Example, Examples, example_of
from rlvr_trainer.data.procedural import open_procedural
from rlvr_trainer.data.rows import JsonLines, Rows, open_parquet
from rlvr_trainer.errors import InvalidInput

_FORMATS: Final = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".parquet": "parquet"}


class RowExamples:
    """The first `size` rows of a file or directory as examples."""

    def __init__(self, rows: Rows, *, size: int, columns: Columns) -> None:
        self._rows = rows
        self._size = size
        self._columns = columns

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: int) -> Example:
        return example_of(self._rows[index], where=self._rows.where(index), columns=self._columns)


def open_source(source: DataSource, *, at: str) -> Examples:
    """The examples of `source`, which the manifest holds under `at`; InvalidInput when there are none."""
    columns = Columns(prompt=source.prompt_field, answer=source.answer_field, answer_after=source.answer_after, at=at)
    if source.procedural is not None:
        spec = source.procedural
        size = min(spec.size, source.limit or spec.size)
        return open_procedural(spec.task, spec.params, size=size, seed=spec.seed, columns=columns)
    rows = _open_rows(source, at=at)
    if len(rows) == 0:
        raise InvalidInput(f"{source_name(source)} ({at}) holds no rows. Training needs at least one question.")
    return RowExamples(rows, size=min(len(rows), source.limit or len(rows)), columns=columns)


def source_name(source: DataSource) -> str:
    """Name of the task, file or folder, for people and verifiers."""
    if source.procedural is not None:
        return source.procedural.task
    located = source.file or source.directory
    assert located is not None, "the job type admits exactly one source"
    return Path(located.path).name


def _open_rows(source: DataSource, *, at: str) -> Rows:
    if source.file is not None:
        path = _local_path(source.file.path, at=f"{at}.file.path")
        if not path.is_file():
            raise InvalidInput(f"{at}.file.path {source.file.path!r} is not a file here. Name an existing file.")
        return JsonLines(path) if _format_of(source.file, at=at) == "jsonl" else open_parquet(path)
    assert source.directory is not None, "the job type admits exactly one source"
    folder = _local_path(source.directory.path, at=f"{at}.directory.path")
    if not folder.is_dir():
        raise InvalidInput(f"{at}.directory.path {source.directory.path!r} is not a folder here. Name an existing one.")
    return open_directory(folder, split=source.directory.split)


def _local_path(location: str, *, at: str) -> Path:
    parts = urlsplit(location)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    if "://" in location:
        raise InvalidInput(
            f"{at} {location!r} is not on this machine. Copy it to a path that the coordinator can read."
        )
    return Path(location).expanduser()


def _format_of(file: FileSource, *, at: str) -> str:
    if file.format != "auto":
        return file.format
    ending = Path(file.path).suffix.lower()
    if ending not in _FORMATS:
        known = ", ".join(_FORMATS)
        raise InvalidInput(
            f"{at}.file.path {file.path!r} ends in {ending!r}, which says no format ({known}). Set {at}.file.format."
        )
    return _FORMATS[ending]
