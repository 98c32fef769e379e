"""One conversation with programs in the jail: write what they read, read what they write, end them at their limits.

An Exchange owns every pipe of the conversation.  It ends when all of its programs have ended; what they wrote until
then is kept up to a limit, and writing more, or running longer than `seconds`, ends a program.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from rlvr_trainer.errors import Unavailable

_CHUNK_BYTES: Final = 2**16
_LONGEST_MESSAGE: Final = 4096
_GRACE_SECONDS: Final = 10.0
"""The keeper takes as long at most to bury what it was told to kill."""


class Exchange:
    """A context manager; launch, then follow until the end, then look at `written`, `reports` and `reasons`."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._open: set[int] = set()
        self._selector = selectors.DefaultSelector()
        self._unsent: dict[int, memoryview] = {}
        self._rooms: dict[int, tuple[str, int]] = {}
        self._heard: dict[int, bytearray] = {}
        self._running: set[str] = set()
        self.reports: dict[str, dict[str, Any]] = {}
        """Status and use of each program that ended, by name."""
        self.reasons: dict[str, str] = {}
        """Why we killed a program: `time`, `output`, `done`."""

    def __enter__(self) -> Self:
        self._selector.register(self._connection, selectors.EVENT_READ)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, _: TracebackType | None
    ) -> None:
        self._selector.close()
        for file in self._open:
            os.close(file)

    def feeding(self, content: bytes) -> int:
        """A file from which a program reads `content` and then the end."""
        theirs, ours = self._pipe()
        os.set_blocking(ours, False)
        self._unsent[ours] = memoryview(content)
        self._selector.register(ours, selectors.EVENT_WRITE)
        return theirs

    def hearing(self, name: str, *, most_bytes: int) -> tuple[int, int]:
        """A file into which program `name` may write so much, and the key of it for `written`."""
        ours, theirs = self._pipe()
        os.set_blocking(ours, False)
        self._rooms[ours] = (name, most_bytes)
        self._heard[ours] = bytearray()
        self._selector.register(ours, selectors.EVENT_READ)
        return theirs, ours

    def pair(self) -> tuple[int, int]:
        """A connection between two programs."""
        one, other = (each.detach() for each in socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM))
        self._open |= {one, other}
        return one, other

    def launch(self, name: str, part: str, files: Sequence[int], *, cpu_seconds: int, memory_bytes: int) -> None:
        """Have the keeper start a program; its files are its alone from here on."""
        order = {"launch": name, "part": part, "cpu": cpu_seconds, "memory": memory_bytes}
        try:
            socket.send_fds(self._connection, [json.dumps(order).encode()], files)
        except OSError as problem:
            raise Unavailable(f"the jail's keeper is gone: {problem}") from problem
        self._running.add(name)
        for file in files:
            self._open.discard(file)
            os.close(file)

    def follow(self, *, seconds: float, ends_all: str) -> None:
        """Return once every program has ended; when `ends_all` has, the others are not needed any more."""
        ends, is_late = time.monotonic() + seconds, False
        while self._running:
            remaining = ends - time.monotonic()
            if remaining <= 0:
                if is_late:
                    raise Unavailable(f"the jail's keeper did not bury {', '.join(sorted(self._running))}")
                self._kill_all("time")
                ends, is_late = time.monotonic() + _GRACE_SECONDS, True
            for key, _ in self._selector.select(max(remaining, 0)):
                self._serve(key.fd)
            if ends_all in self.reports:
                self._kill_all("done")
        for file in list(self._rooms.keys() & self._open):
            while self._read(file):
                pass

    def written(self, key: int) -> bytes:
        return bytes(self._heard[key])

    def _pipe(self) -> tuple[int, int]:
        reading, writing = os.pipe()
        self._open |= {reading, writing}
        return reading, writing

    def _forget(self, file: int) -> None:
        self._selector.unregister(file)
        self._open.discard(file)
        os.close(file)

    def _kill_all(self, reason: str) -> None:
        for name in self._running:
            self._kill(name, reason)

    def _kill(self, name: str, reason: str) -> None:
        if name in self._running and name not in self.reasons:
            self.reasons[name] = reason
            try:
                self._connection.send(json.dumps({"kill": name}).encode())
            except OSError as problem:
                raise Unavailable(f"the jail's keeper is gone: {problem}") from problem

    def _serve(self, file: int) -> None:
        if file == self._connection.fileno():
            self._hear_keeper()
        elif file in self._unsent:
            self._write(file)
        else:
            self._read(file)

    def _hear_keeper(self) -> None:
        try:
            data = self._connection.recv(_LONGEST_MESSAGE)
        except OSError as problem:
            raise Unavailable(f"the jail's keeper is gone: {problem}") from problem
        if not data:
            raise Unavailable("the jail's keeper is gone")
        report = json.loads(data)
        self.reports[report["ended"]] = report
        self._running.discard(report["ended"])

    def _write(self, file: int) -> None:
        try:
            self._unsent[file] = self._unsent[file][os.write(file, self._unsent[file][:_CHUNK_BYTES]) :]
        except BrokenPipeError:  # it does not want the rest
            self._unsent[file] = memoryview(b"")
        if not self._unsent[file]:
            del self._unsent[file]
            self._forget(file)

    def _read(self, file: int) -> bool:
        """Read once; False when there is nothing to read now or any more."""
        try:
            data = os.read(file, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        name, most_bytes = self._rooms[file]
        heard = self._heard[file]
        heard += data
        if len(heard) > most_bytes:
            self._kill(name, "output")
        if not data or len(heard) > most_bytes:
            self._forget(file)
            return False
        return True
