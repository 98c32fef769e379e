r"""The worker's side of the jail: start programs in it, feed them, listen within limits, learn how they ended.

    with open_jail() as jail:
        jail.run(source, stdin="3\n", limits=Limits(seconds=2.0))           -> Run(ending=EXITED, stdout="6\n", ...)
        jail.examine(source, exam, limits=Limits(seconds=2.0))               -> Examined(passed=3, problem=None, ...)

Expected results stay on this side (`run`) or in a process of their own that runs no program (`examine`).
One call at a time; a jail that failed is closed and must be opened again.
"""

from __future__ import annotations

import enum
import json
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rlvr_trainer.errors import InvalidInput, Unavailable
from rlvr_trainer.jail.confinement import missing_minimum
from rlvr_trainer.jail.exchange import Exchange
from rlvr_trainer.jail.kernel import landlock_abi

_COMMAND: Final = (
    "import sys; sys.path.insert(0, {path!r}); "
    "from rlvr_trainer.jail.keeper import main; del sys.path[0]; main({control})"
)
_START_SECONDS: Final = 60.0
_LONGEST_MESSAGE: Final = 4096
_LONGEST_REPORT: Final = 2**16


class Ending(enum.StrEnum):
    """How a program ended."""

    EXITED = "exited"
    KILLED = "killed"
    """By a signal that was not ours: a crash, or its own doing."""
    TIME = "time"
    """Still running at the limit, or out of CPU seconds."""
    OUTPUT = "output"
    """It wrote more than it may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one program may use.  CPU time is bounded by `seconds` too, rounded up to whole ones."""

    seconds: float
    memory_bytes: int = 2**30
    output_bytes: int = 2**20

    @property
    def cpu_seconds(self) -> int:
        return math.ceil(self.seconds)

    def are_spent(self, cpu_seconds: float) -> bool:
        """Whether a program that used these CPU seconds, as reported, may have been killed for them.

        The kernel ends it by counting clock ticks and reports measured time: the two differ by a few ticks.
        """
        return cpu_seconds >= 0.95 * self.cpu_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What became of a program."""

    ending: Ending
    code: int
    """Exit code, or minus the signal."""
    stdout: str
    stderr: str
    cpu_seconds: float
    memory_bytes: int
    """Most resident memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What became of a program that was put to tests."""

    passed: int
    problem: str | None
    """Why the first test that did not pass failed; None when all passed."""
    is_broken: bool
    """The tests, not the program, are at fault."""
    program: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What this machine gives the jail."""

    problem: str | None
    abi: int
    namespaces: bool
    own_user: bool

    @property
    def layers(self) -> dict[str, bool]:
        """What a jail may be made of, and whether it is here; without the first two there is no jail."""
        return {
            "seccomp": self.problem is None,
            "landlock-files": self.abi >= 1,
            "landlock-tcp": self.abi >= 4,
            "landlock-signals": self.abi >= 6,
            "namespaces": self.namespaces,
            "own-user": self.own_user,
        }


@contextmanager
def open_jail() -> Iterator[Jail]:
    """A jail whose self-test passed; InvalidInput when this machine is below the minimum."""
    _refuse(missing_minimum(platform=sys.platform, machine=os.uname().machine, abi=landlock_abi()))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = str(Path(__file__).parents[2])
    with ours, theirs:
        process = subprocess.Popen(
            (base_python(), "-I", "-S", "-B", "-c", _COMMAND.format(path=path, control=theirs.fileno())),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={},
            cwd="/",
            pass_fds=(theirs.fileno(),),
        )
        theirs.close()
        try:
            yield Jail(ours, _hello(ours))
        finally:
            process.kill()
            process.wait()


def base_python() -> str:
    """The interpreter behind a virtual environment: it finds its standard library without the environment's files."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


def _hello(connection: socket.socket) -> Found:
    connection.settimeout(_START_SECONDS)
    try:
        data = connection.recv(_LONGEST_MESSAGE)
    except TimeoutError as error:
        raise Unavailable(f"the jail's keeper did not start within {_START_SECONDS:.0f} s") from error
    if not data:
        raise Unavailable("the jail's keeper ended at its start; its last words are above")
    found = Found(**json.loads(data)["hello"])
    _refuse(found.problem)
    return found


def _refuse(problem: str | None) -> None:
    if problem is not None:
        raise InvalidInput(
            f"model-written code is not run on this machine: {problem}. "
            "Run rewards where Landlock and seccomp filters are available."
        )


class Jail:
    """See open_jail."""

    def __init__(self, connection: socket.socket, found: Found) -> None:
        self._connection = connection
        self.found = found

    def run(self, source: str, *, stdin: str, limits: Limits) -> Run:
        """Run a whole program on an input."""
        with Exchange(self._connection) as exchange:
            keys = _launch_program(exchange, "program", source, stdin=stdin, limits=limits)
            exchange.follow(seconds=limits.seconds, ends_all="program")
            return _run_of(exchange, keys, limits)

    def examine(self, source: str, exam: dict[str, Any], *, limits: Limits) -> Examined:
        """Put the functions of a program to the tests of `exam` (examiner.py); both have these limits."""
        with Exchange(self._connection) as exchange:
            near, far = exchange.pair()
            keys = _launch_program(exchange, "function", source, limits=limits, more=(far,))
            report = _launch_examiner(exchange, exam, near, limits=limits)
            exchange.follow(seconds=limits.seconds, ends_all="examiner")
            program = _run_of(exchange, keys, limits)
            return examined(exchange.written(report), reason=exchange.reasons.get("examiner"), program=program)


def examined(report: bytes, *, reason: str | None, program: Run) -> Examined:
    """What an examiner's report means; without one, time is the program's fault and anything else is not."""
    try:
        found = json.loads(report)
    except ValueError:
        is_late = reason == "time"
        problem = "the tests did not end in time" if is_late else f"the examiner gave no report: {report[:200]!r}"
        return Examined(passed=0, problem=problem, is_broken=not is_late, program=program)
    return Examined(passed=found["passed"], problem=found["problem"], is_broken=found["broken"], program=program)


def _launch_program(
    exchange: Exchange, part: str, source: str, *, limits: Limits, stdin: str = "", more: tuple[int, ...] = ()
) -> tuple[int, int]:
    """Start a program; the keys of its output and of its complaints."""
    output, output_key = exchange.hearing("program", most_bytes=limits.output_bytes)
    complaints, complaints_key = exchange.hearing("program", most_bytes=limits.output_bytes)
    files = (exchange.feeding(_bytes(stdin)), output, complaints, exchange.feeding(_bytes(source)), *more)
    _launch(exchange, "program", part, files, limits=limits)
    return output_key, complaints_key


def _launch_examiner(exchange: Exchange, exam: dict[str, Any], line: int, *, limits: Limits) -> int:
    """Start the examiner; the key of its report."""
    output, key = exchange.hearing("examiner", most_bytes=_LONGEST_REPORT)
    files = (exchange.feeding(b""), output, os.dup(output), exchange.feeding(json.dumps(exam).encode()), line)
    _launch(exchange, "examiner", "examiner", files, limits=limits)
    return key


def _launch(exchange: Exchange, name: str, part: str, files: tuple[int, ...], *, limits: Limits) -> None:
    exchange.launch(name, part, files, cpu_seconds=limits.cpu_seconds, memory_bytes=limits.memory_bytes)


def _run_of(exchange: Exchange, keys: tuple[int, int], limits: Limits) -> Run:
    report = exchange.reports["program"]
    is_spared = exchange.reasons.get("program") == "done"  # the examiner was through before it had begun
    if not (report["entered"] or is_spared):
        raise Unavailable(f"the jail could not be entered: {exchange.written(keys[1])[:200]!r}")
    code = os.waitstatus_to_exitcode(report["status"])
    stdout, stderr = (exchange.written(key).decode(errors="replace") for key in keys)
    return Run(
        ending=ending_of(exchange.reasons.get("program"), code, is_spent=limits.are_spent(report["cpu"])),
        code=code,
        stdout=stdout,
        stderr=stderr,
        cpu_seconds=report["cpu"],
        memory_bytes=report["memory"],
    )


def ending_of(reason: str | None, code: int, *, is_spent: bool) -> Ending:
    """How a program ended, from why we killed it (if we did), its exit code, and whether its CPU seconds are spent."""
    if reason in ("time", "output"):
        return Ending(reason)
    if code >= 0 or reason == "done":
        return Ending.EXITED
    return Ending.TIME if -code == signal.SIGKILL and is_spent else Ending.KILLED


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
