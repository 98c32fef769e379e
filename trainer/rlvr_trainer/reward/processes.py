"""One worker process: start it, give it items, hear its reports, kill it with everything it started.

Each worker leads a session and process group of its own and sees nothing of the service's environment but what Python
needs.  Deadlines are the pool's business.  Killing reaches the group and the worker's descendants of that moment; a
process that left the group and whose parent has ended is not found: model-written code needs more than this.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rlvr_trainer.errors import CorruptArtifact, InvalidInput, Unavailable
from rlvr_trainer.reward.frames import Deframer, Item, Ready, Report, Setup, frame
from rlvr_trainer.wire import unpack

_COMMAND: Final = (sys.executable, "-m", "rlvr_trainer.reward.worker")
_KEPT_VARIABLES: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
_START_SECONDS: Final = 120.0
_READ_BYTES: Final = 2**18


async def start_worker(setup: Setup) -> Worker:
    """A worker that is ready; InvalidInput when it says that it never will be, Unavailable when it ends or hangs."""
    process, ours = _spawn()
    reader, writer = await asyncio.open_connection(sock=ours)
    worker = Worker(process, reader, writer)
    try:
        async with asyncio.timeout(_START_SECONDS):
            ready = await worker.introduce(setup)
    except TimeoutError as error:
        await worker.kill()
        raise Unavailable(f"a worker was not ready within {_START_SECONDS:.0f} s") from error
    except BaseException:  # a cancelled start too must not leave the worker behind
        await worker.kill()
        raise
    if ready.problem is not None:
        await worker.kill()
        raise InvalidInput(ready.problem)
    return worker


def _spawn() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A worker process and our end of the connection; its own end is its standard input."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            _COMMAND,
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            env=clean_environment(os.environ, path=sys.path),
            start_new_session=True,
        )
    return process, ours


def clean_environment(environment: Mapping[str, str], *, path: Sequence[str]) -> dict[str, str]:
    """What a worker may know: no tokens, no credentials, no RLVR_*; one thread for numeric libraries."""
    kept = {name: environment[name] for name in _KEPT_VARIABLES if name in environment}
    return {**kept, "PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def ending(returncode: int) -> str:
    """How a process ended, in words."""
    if returncode >= 0:
        return f"ended with exit code {returncode}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-returncode).name}"
    return f"was ended by signal {-returncode}"


def descendants(pid: int) -> list[int]:
    """Processes that `pid` started, and theirs, as far as the kernel tells (Linux)."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (thread / "children").read_text().split())
    return [each for child in found for each in (child, *descendants(child))]


class Worker:
    """A living worker process."""

    def __init__(
        self, process: subprocess.Popen[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._from = reader
        self._to = writer
        self._deframer = Deframer()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    async def introduce(self, setup: Setup) -> Ready:
        self._to.write(frame(setup))
        return unpack((await self._messages())[0], Ready)

    def give(self, items: Sequence[Item]) -> None:
        """Hand over items; nothing is waited for, so the other direction cannot be blocked."""
        self._to.write(b"".join(map(frame, items)))

    async def reports(self) -> list[Report]:
        """The next reports, at least one; Unavailable when the worker ended."""
        return [unpack(message, Report) for message in await self._messages()]

    async def kill(self) -> str:
        """End the worker and everything it started; returns how the worker ended."""
        started = descendants(self._process.pid)
        self._to.transport.abort()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return ending(await asyncio.to_thread(self._process.wait))

    async def _messages(self) -> list[bytes]:
        while True:
            try:
                data = await self._from.read(_READ_BYTES)
                messages = self._deframer.feed(data)
            except (CorruptArtifact, ConnectionError) as error:
                raise Unavailable(f"the worker sent something else than reports: {error}") from error
            if messages:
                return messages
            if not data:
                raise Unavailable("the worker ended")
