"""The keeper: a small clean process that forks one confined child per program, and buries it.

Started by boundary.py.  It knows nothing worth reading: contents go from the worker to the children by pipes whose ends
pass through here unread, because a child begins as a copy of this process's memory.

    worker -> keeper   {"launch": name, "part": "program" | "function" | "examiner", "cpu", "memory"} and its files
                       {"kill": name}
    keeper -> worker   {"hello": {"problem", "abi", "namespaces", "own_user"}}, once
                       {"ended": name, "status", "entered", "cpu", "memory"}
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rlvr_trainer.jail import inside, kernel
from rlvr_trainer.jail.confinement import (
    SHARED_THREADS,
    THREADS,
    Allowance,
    Confinement,
    confine,
    missing_minimum,
    readable_paths,
)

_LONGEST_MESSAGE: Final = 4096
_FIRST_OWN_USER: Final = 1_000_000_000
RULESET_FILE: Final = 100
_ENTERED_FILE: Final = 101
_SELF_TEST: Final = Allowance(cpu_seconds=10, memory_bytes=2**29)


def main(control: int) -> None:
    """Serve until the connection closes."""
    os.environ.clear()  # Python itself sets LC_CTYPE
    kernel.die_with_parent()
    connection = socket.socket(fileno=control)
    abi = kernel.landlock_abi()
    problem = missing_minimum(platform=sys.platform, machine=os.uname().machine, abi=abi)
    if problem is not None:
        _send(connection, {"hello": {"problem": problem, "abi": abi, "namespaces": False, "own_user": False}})
        return
    namespaces = _enter_namespaces()
    own_user = _change_user() or namespaces
    kernel.die_with_parent()
    kernel.adopt_orphans()
    keeper = Keeper(connection, _prepare(abi, own_user=own_user), is_alone=own_user)
    problem = keeper.self_test()
    _send(connection, {"hello": {"problem": problem, "abi": abi, "namespaces": namespaces, "own_user": own_user}})
    if problem is None:
        gc.freeze()
        keeper.serve()


def _prepare(abi: int, *, own_user: bool) -> Confinement:
    made = kernel.make_ruleset(abi, readable_paths())
    os.dup2(made, RULESET_FILE, inheritable=False)
    os.close(made)
    return Confinement(ruleset=RULESET_FILE, most_processes=THREADS if own_user else SHARED_THREADS)


def _enter_namespaces() -> bool:
    """Become the first process of namespaces of our own, where the kernel allows; the old process waits and ends."""
    flags = kernel.NEW_PROCESSES | (kernel.NEW_USER if os.geteuid() else 0)
    try:
        kernel.unshare(flags)
    except OSError:
        return False
    child = os.fork()
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    if os.geteuid():
        kernel.set_capabilities(0)
    return True


def _change_user() -> bool:
    """Root has no business here, and a user of our own makes limits on processes exact."""
    if os.geteuid() != 0:
        return False
    user = _FIRST_OWN_USER + int.from_bytes(os.urandom(3), "big")
    kernel.keep_capabilities()
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    kernel.set_capabilities(0 if _can_read_python() else kernel.CAP_DAC_READ_SEARCH)
    return True


def _can_read_python() -> bool:
    """Whether other users than root may read the standard library; under /root they may not, and Landlock has to do."""
    with suppress(OSError):
        return any(Path(os.__file__).parent.iterdir())
    return False


class Keeper:
    """Children by process id, and the connection that orders them."""

    def __init__(self, connection: socket.socket, confinement: Confinement, *, is_alone: bool) -> None:
        """`is_alone`: every process that this one may signal is its own."""
        self._connection = connection
        self._confinement = confinement
        self._is_alone = is_alone
        self._children: dict[int, str] = {}
        self._poll = select.poll()
        self._files: dict[int, int] = {}
        self._entered: dict[int, int] = {}

    def serve(self) -> None:
        self._poll.register(self._connection, select.POLLIN)
        while True:
            for file, _ in self._poll.poll():
                if file in self._files:
                    self._bury(file)
                elif not self._obey():
                    return

    def _obey(self) -> bool:
        """Carry out one message; False when there will be no more."""
        data, files, _, _ = socket.recv_fds(self._connection, _LONGEST_MESSAGE, 8)
        if not data:
            return False
        order = json.loads(data)
        for pid in [pid for pid, name in self._children.items() if name == order.get("kill")]:
            os.kill(pid, signal.SIGKILL)
        if "launch" in order:
            self._watch(self._launch(order, files), name=order["launch"])
        for file in files:
            os.close(file)
        return True

    def _watch(self, pid: int, *, name: str) -> None:
        self._children[pid] = name
        file = os.pidfd_open(pid)
        self._files[file] = pid
        self._poll.register(file, select.POLLIN)

    def _launch(self, order: dict[str, Any], files: list[int]) -> int:
        """The process id of a child that will confine itself and then do its part; never returns in the child."""
        parent, (hearing, telling) = os.getpid(), os.pipe()
        pid = os.fork()
        if pid:
            os.close(telling)
            self._entered[pid] = hearing
            return pid
        try:
            kernel.die_with_parent()
            if os.getppid() == parent:
                os.setsid()
                _arrange(files, telling)
                confine(self._confinement, Allowance(cpu_seconds=order["cpu"], memory_bytes=order["memory"]))
                os.write(_ENTERED_FILE, b"+")
                os.close(_ENTERED_FILE)
                inside.run(order["part"])
        except BaseException as problem:  # noqa: BLE001 - nothing may return into the keeper's own loop
            os.write(2, f"the jail cannot be entered: {problem!r}".encode())
        finally:
            os._exit(inside.EXIT_BROKEN)

    def _bury(self, file: int) -> None:
        """Tell how a child ended and what it used."""
        pid = self._files.pop(file)
        self._poll.unregister(file)
        os.close(file)
        _, status, usage = os.wait4(pid, 0)
        name = self._children.pop(pid)
        if not self._children:
            self._sweep()
        use = {"cpu": usage.ru_utime + usage.ru_stime, "memory": usage.ru_maxrss * 1024}
        _send(self._connection, {"ended": name, "status": status, "entered": self._has_entered(pid), **use})

    def _has_entered(self, pid: int) -> bool:
        """Whether a child that ended was confined before: only then did a program run."""
        hearing = self._entered.pop(pid)
        told = os.read(hearing, 1)
        os.close(hearing)
        return told == b"+"

    def _sweep(self) -> None:
        """Kill whatever a child may have left.  Children cannot start processes, so there should be nothing."""
        with suppress(OSError):
            if self._is_alone:
                os.kill(-1, signal.SIGKILL)
            else:
                for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass

    def self_test(self) -> str | None:
        """What a confined child could do although it must not; None when it was refused everything."""
        nowhere = os.open(os.devnull, os.O_RDWR)
        order = {"part": "self-test", "cpu": _SELF_TEST.cpu_seconds, "memory": _SELF_TEST.memory_bytes}
        pid = self._launch(order, [nowhere, nowhere, nowhere])
        os.close(nowhere)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return None if self._has_entered(pid) and code == 0 else f"the jail does not hold here: {inside.weakness(code)}"


def _arrange(files: list[int], telling: int) -> None:
    """The files of an order become 0, 1, 2, ...; nothing else stays open but the ruleset and the way to tell of it."""
    os.dup2(telling, _ENTERED_FILE, inheritable=False)
    moved = [os.dup2(file, _ENTERED_FILE + 1 + index, inheritable=False) for index, file in enumerate(files)]
    os.closerange(0, RULESET_FILE)
    for index, file in enumerate(moved):
        os.dup2(file, index, inheritable=False)
    os.closerange(_ENTERED_FILE + 1, 2**16)


def _send(connection: socket.socket, message: dict[str, Any]) -> None:
    connection.send(json.dumps(message).encode())
