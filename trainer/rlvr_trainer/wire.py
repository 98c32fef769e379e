"""Records to bytes and back: JSON for people and HTTP, MessagePack for step batches.

Token and log-probability arrays travel as raw little-endian bytes (4 bytes a value).
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
import numpy as np

from rlvr_trainer.errors import CorruptArtifact

T = TypeVar("T")


def _encode_array(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes()
    raise NotImplementedError(f"{type(value).__name__} is not a record of samples.py")


def _dtype_of(annotation: Any) -> np.dtype[Any]:
    scalar: type[np.generic] = annotation.__args__[1].__args__[0]
    return np.dtype(scalar).newbyteorder("<")


def _decode_array(annotation: Any, value: Any) -> Any:
    return np.frombuffer(value, dtype=_dtype_of(annotation))


def pack(record: Any) -> bytes:
    """Record to MessagePack."""
    return msgspec.msgpack.encode(record, enc_hook=_encode_array)


def unpack(data: bytes, kind: type[T]) -> T:
    """MessagePack to a record of `kind`, or CorruptArtifact."""
    try:
        return msgspec.msgpack.decode(data, type=kind, dec_hook=_decode_array)
    except msgspec.DecodeError as error:
        raise CorruptArtifact(f"{len(data)} bytes are not a {kind.__name__}: {error}") from error


def to_json(record: Any) -> bytes:
    """Record without arrays to JSON."""
    return msgspec.json.encode(record)


def from_json(data: bytes | str, kind: type[T]) -> T:
    """JSON to a record of `kind`, or CorruptArtifact."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as error:
        raise CorruptArtifact(f"{len(data)} bytes are not a {kind.__name__}: {error}") from error
