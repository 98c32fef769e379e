"""Rows of local files: JSON lines and parquet, by index.

JSON lines stay on disk (only line starts are kept); parquet columns are held in memory.  Reading never guesses: an
error names the broken line.
"""

from __future__ import annotations

import mmap
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from rlvr_trainer.data.examples import shown
from rlvr_trainer.errors import InvalidInput

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Rows(Protocol):
    """Random access to the rows of one file, or of several one after the other."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...

    def where(self, index: int) -> str:
        """Place of a row, for error messages."""
        ...


class JsonLines:
    """One JSON object a line; blank lines are skipped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._bytes = _map_file(path)
        self._starts, self._lines = array("Q"), array("Q")
        for number, (start, end) in enumerate(_line_spans(self._bytes), start=1):
            if self._bytes[start:end].strip():
                self._starts.append(start)
                self._lines.append(number)

    def __len__(self) -> int:
        return len(self._starts)

    def where(self, index: int) -> str:
        return f"{self._path} line {self._lines[index]}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        self._bytes.seek(self._starts[index])
        line = self._bytes.readline()
        try:
            row = msgspec.json.decode(line.decode("utf-8").strip())
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"{self.where(index)}: byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8. "
                "Save the file as UTF-8."
            ) from error
        except msgspec.DecodeError as error:
            raise InvalidInput(
                f"{self.where(index)}: {shown(line.decode().strip())} is not JSON ({error}). "
                "Every line must be one JSON object."
            ) from error
        if not isinstance(row, dict):
            raise InvalidInput(
                f"{self.where(index)}: found {shown(row)}, but every line must be one JSON object "
                '({"question": ..., "answer": ...}); a file that is one long list must be split into lines.'
            )
        return row


class TableRows:
    """Rows of an Arrow table."""

    def __init__(self, table: pa.Table, *, path: Path) -> None:
        self._table = table
        self._path = path

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def where(self, index: int) -> str:
        return f"{self._path} row {index + 1}"

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            row: dict[str, Any] = self._table.slice(index, 1).to_pylist()[0]
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"{self.where(index)}: holds text that is not UTF-8. Save the column as UTF-8."
            ) from error
        return row


class Chained:
    """Several sets of rows, one after the other."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self._parts = parts
        self._ends = list(accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def _locate(self, index: int) -> tuple[Rows, int]:
        part = bisect_right(self._ends, index)
        return self._parts[part], index - (self._ends[part - 1] if part else 0)

    def where(self, index: int) -> str:
        part, inner = self._locate(index)
        return part.where(inner)

    def __getitem__(self, index: int) -> dict[str, Any]:
        part, inner = self._locate(index)
        return part[inner]


def open_parquet(path: Path) -> Rows:
    """All rows of one parquet file."""
    try:
        table = pq.read_table(path, partitioning=None)
    except pa.ArrowException as error:
        raise InvalidInput(
            f"{path} is not a parquet file ({_first_line(error)}). Write it again with pyarrow."
        ) from error
    return TableRows(table, path=path)


def open_arrow(path: Path) -> Rows:
    """All rows of one Arrow stream as `datasets.save_to_disk` writes it, mapped from disk."""
    try:
        table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
    except pa.ArrowException as error:
        raise InvalidInput(f"{path} is not an Arrow stream ({_first_line(error)}). Save the data set again.") from error
    return TableRows(table, path=path)


def _map_file(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        if path.stat().st_size == 0:
            raise InvalidInput(f"{path} is empty. It needs at least one line with one JSON object.")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _line_spans(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    start = len(_BYTE_ORDER_MARK) if data[: len(_BYTE_ORDER_MARK)] == _BYTE_ORDER_MARK else 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end + 1
        yield start, end
        start = end


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
