"""Start and end role processes; leave none behind.

Each process leads a session and process group of its own, so Ctrl-C reaches only the supervisor and a group ends
whole.  Its standard input is a pipe from here: end of file means that the supervisor is gone.  Its output goes to
`logs/NAME.log`.  Decides nothing; supervision.py does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to execute under a name."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    """Added to the supervisor's own."""


@contextmanager
def open_processes(logs: Path) -> Iterator[Processes]:
    """Processes that all end, with everything they started, when the block does, however it does."""
    processes = Processes(logs)
    try:
        yield processes
    finally:
        processes.kill_all()


class Processes:
    """The living processes by name."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._living: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, command: Command) -> int:
        """Start `command`; returns its process id.

        To be called from the main thread: Linux sends the parent-death signal when the *thread* that forked ends.
        """
        assert command.name not in self._living, f"{command.name} is already running"
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log(command.name).open("ab") as log:
            log.write(_header(command))
            log.flush()
            process = subprocess.Popen(
                command.argv,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **command.environment, "RLVR_SUPERVISOR": str(os.getpid())},
            )
        self._living[command.name] = process
        return process.pid

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.log"

    def ended(self) -> tuple[tuple[str, int], ...]:
        """Names and exit codes of processes that ended since the last call; the rest of their groups is killed."""
        codes = {name: process.poll() for name, process in self._living.items()}
        found = tuple((name, code) for name, code in codes.items() if code is not None)
        for name, _ in found:
            self._forget(name)
        return found

    def stop(self, name: str) -> None:
        """Ask the leader of the group to stop; it looks after its children."""
        if name in self._living:
            self._living[name].terminate()

    def kill(self, name: str) -> None:
        """End the whole group; `ended` reports it."""
        if name in self._living:
            _kill_group(self._living[name].pid)

    def kill_all(self) -> None:
        """End every group and wait until it is gone."""
        for name in self._living:
            self.kill(name)
        for name in tuple(self._living):
            self._living[name].wait()
            self._forget(name)

    def _forget(self, name: str) -> None:
        process = self._living.pop(name)
        _kill_group(process.pid)
        if process.stdin is not None:
            process.stdin.close()


def _kill_group(leader: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _header(command: Command) -> bytes:
    attempt = command.environment.get("RLVR_ATTEMPT", "0")
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"---- {when} {command.name} attempt {attempt}: {' '.join(command.argv)}\n".encode()
