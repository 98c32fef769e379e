"""Messages between the pool and a worker: MessagePack, each after its length (4 bytes, big-endian)."""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from rlvr_trainer.errors import CorruptArtifact
from rlvr_trainer.samples import Finish, Task
from rlvr_trainer.verifiers.composition import Judgement
from rlvr_trainer.wire import pack, unpack

_LENGTH: Final = struct.Struct(">I")
LONGEST_FRAME: Final = 64 * 2**20


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One completion to judge."""

    id: str
    text: str
    finish: Finish
    task: Task


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The first message to a worker."""

    verifiers: tuple[str, ...]
    """VerifierSpec, as JSON."""
    memory_bytes: int
    """The worker may not have more private memory."""
    deadline_seconds: float
    """After so long an item costs the worker its life."""


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's first message: it can judge, or why it cannot."""

    problem: str | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's answer to one item; answers come in the order of the items."""

    id: str
    judgement: Judgement


def frame(record: msgspec.Struct) -> bytes:
    """A message as bytes on the pipe."""
    data = pack(record)
    return _LENGTH.pack(len(data)) + data


class Deframer:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that `data` completes; CorruptArtifact when the stream is none of ours."""
        self._buffer += data
        messages = []
        while (end := self._end()) is not None:
            messages.append(bytes(self._buffer[_LENGTH.size : end]))
            del self._buffer[:end]
        return messages

    def _end(self) -> int | None:
        """Where the first message in the buffer ends; None while it is incomplete."""
        if len(self._buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer)
        if length > LONGEST_FRAME:
            raise CorruptArtifact(f"a message of {length} bytes; the longest is {LONGEST_FRAME}")
        end = _LENGTH.size + int(length)
        return end if len(self._buffer) >= end else None


def read_item(data: bytes) -> Item:
    return unpack(data, Item)
