"""The real jail on this machine: what a program cannot reach, may not use up, and does not leave behind."""

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlvr_trainer.errors import Unavailable
from rlvr_trainer.jail.boundary import Ending, Jail, Limits, open_jail
from rlvr_trainer.metrics import Board
from rlvr_trainer.reward.service import look_at_jail

LIMITS = Limits(seconds=30.0)
MOST = {
    "import": "import ctypes, socket, subprocess, multiprocessing, threading, decimal, asyncio, zoneinfo, json",
    "threads": "import threading\nt = threading.Thread(target=print, args=(6,))\nt.start()\nt.join()",
    "asyncio": "import asyncio\nasync def f(): await asyncio.sleep(0.01); return 6\nprint(asyncio.run(f()))",
    "time zones": "import zoneinfo, datetime\nprint(datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo('UTC')))",
    "randomness": "import random, secrets, uuid\nrandom.random(), secrets.token_hex(), uuid.uuid4()",
    "deep recursion": (
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(2**27)\n"
        "def f(n): return n and f(n - 1)\nt = threading.Thread(target=lambda: print(f(50000)))\nt.start()"
    ),
    "exit": "print(6)\nexit()",
    "limits of its own": "import sys\nsys.set_int_max_str_digits(0)\nprint(len(str(7 ** 9999)))",
}


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with open_jail() as opened:
        yield opened


def said(jail: Jail, source: str, *, stdin: str = "", limits: Limits = LIMITS) -> str:
    """What a program printed, with what it complained about."""
    run = jail.run(source, stdin=stdin, limits=limits)
    return run.stdout + run.stderr


def test_a_program_reads_prints_and_ends_with_its_code(jail: Jail) -> None:
    run = jail.run("import sys\nprint(int(input()) * 2)\nsys.exit(3)", stdin="3\n", limits=LIMITS)

    assert (run.ending, run.code, run.stdout, run.stderr) == (Ending.EXITED, 3, "6\n", "")
    assert 2**20 < run.memory_bytes < 2**28


@pytest.mark.parametrize("name", MOST)
def test_what_honest_programs_use_works(jail: Jail, name: str) -> None:
    run = jail.run(MOST[name], stdin="", limits=LIMITS)

    assert (run.ending, run.code, run.stderr) == (Ending.EXITED, 0, "")


@pytest.mark.parametrize(
    ("source", "ending", "code"),
    [
        ("1 / 0", Ending.EXITED, 1),
        ("raise SystemExit('so')", Ending.EXITED, 1),
        ("import os; os._exit(7)", Ending.EXITED, 7),
        ("import atexit\n@atexit.register\ndef f(): 1 / 0", Ending.EXITED, 0),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", Ending.KILLED, -11),
        ("def f(:", Ending.EXITED, 65),
        ("x = " + "(" * 5000, Ending.EXITED, 65),
        ("\x00", Ending.EXITED, 65),
        ("import sys\nsys.stdout.close()", Ending.EXITED, 1),
    ],
)
def test_every_end_is_told(jail: Jail, source: str, ending: Ending, code: int) -> None:
    run = jail.run(source, stdin="", limits=LIMITS)

    assert (run.ending, run.code) == (ending, code)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("open('/etc/passwd')", "PermissionError"),
        ("import os; os.listdir('/')", "PermissionError"),
        ("import os; os.listdir('.')", "PermissionError"),
        ("open('/tmp/left', 'w')", "PermissionError"),
        ("open('/dev/shm/left', 'w')", "PermissionError"),
        ("import os; os.mkdir('/tmp/left')", "PermissionError"),
        ("import os; os.symlink('/etc/passwd', '/tmp/left')", "PermissionError"),
        ("import os; os.remove('/dev/null')", "PermissionError"),
        ("import os; os.memfd_create('x')", "PermissionError"),
        ("import os; os.chmod('/dev/null', 0)", "PermissionError"),
        ("open('/proc/1/environ')", "PermissionError"),
        ("open('/proc/self/environ')", "PermissionError"),
        ("import os; open(f'/proc/{os.getppid()}/mem')", "PermissionError"),
        ("import os; os.open('/proc/self/fd', 0)", "PermissionError"),
        ("import tempfile; tempfile.mkstemp()", "No usable temporary directory"),
        ("import socket; socket.socket()", "PermissionError"),
        ("import socket; socket.create_connection(('127.0.0.1', 22))", "PermissionError"),
        ("import socket; socket.socket(socket.AF_UNIX)", "PermissionError"),
        ("import urllib.request as u; u.urlopen('http://127.0.0.1')", "Operation not permitted"),
        ("import os; os.fork()", "PermissionError"),
        ("import os; os.execv('/bin/sh', ['sh'])", "PermissionError"),
        ("import subprocess; subprocess.run(['/bin/true'])", "PermissionError"),
        ("import os; os.kill(os.getppid(), 9)", "PermissionError"),
        ("import os; os.kill(-1, 9)", "PermissionError"),
        ("import os; os.killpg(0, 9)", "PermissionError"),
        ("import os; os.setuid(0)", "PermissionError"),
        ("import os; os.nice(-5)", "PermissionError"),
        ("import os; os.setpgid(0, 0)", "PermissionError"),
        ("import resource as r; r.setrlimit(r.RLIMIT_CPU, (99, 99))", "not allowed to raise maximum limit"),
        ("import resource as r; r.prlimit(1, r.RLIMIT_CPU)", "PermissionError"),
    ],
)
def test_what_leads_out_of_the_process_is_refused(jail: Jail, source: str, words: str) -> None:
    assert words in said(jail, source)


def test_a_program_has_no_environment_no_files_and_no_secret_in_its_memory(jail: Jail) -> None:
    assert said(jail, "import os; print(dict(os.environ))") == "{}\n"
    assert said(jail, "import sys; print(sys.argv, 'rlvr_trainer' in sys.modules)") == "['program.py'] False\n"
    files = "import os\nfor n in range(1024):\n  try: os.fstat(n); print(n, end=' ')\n  except OSError: pass"
    assert said(jail, files) == "0 1 2 "


def test_this_file_and_its_neighbours_cannot_be_read(jail: Jail) -> None:
    for path in (Path(__file__), Path(__file__).parents[2] / "trainer" / "rlvr_trainer" / "jail" / "inside.py"):
        assert "PermissionError" in said(jail, f"open({str(path)!r})")
        assert "PermissionError" in said(jail, f"open('/usr/lib/../..' + {str(path)!r})")


def test_a_listening_server_hears_nothing(jail: Jail) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        assert "PermissionError" in said(jail, f"import socket; socket.create_connection(('127.0.0.1', {port}))")
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize(
    ("source", "ending"),
    [
        ("while 1: pass", Ending.TIME),
        ("import time; time.sleep(999)", Ending.TIME),
        ("input()\nwhile 1: pass", Ending.TIME),
        ("len(str(9 ** 9 ** 9))", Ending.TIME),
        ("import re; re.match('(a+)+$', 'a' * 64 + 'b')", Ending.TIME),
        (
            (
                "import signal\nfor n in range(1, 65):\n  try: signal.signal(n, lambda *_: 0)\n"
                "  except Exception: pass\nwhile 1: pass"
            ),
            Ending.TIME,
        ),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", Ending.TIME),
        ("import atexit, time; atexit.register(time.sleep, 999)", Ending.TIME),
        ("import threading, time; threading.Thread(target=time.sleep, args=(999,)).start()", Ending.TIME),
        ("import sys\nwhile 1: sys.stdout.write('x' * 9999)", Ending.OUTPUT),
        ("import sys\nwhile 1: sys.stderr.write('x' * 9999)", Ending.OUTPUT),
    ],
)
def test_time_and_output_end_a_program(jail: Jail, source: str, ending: Ending) -> None:
    began = time.monotonic()
    run = jail.run(source, stdin="\n", limits=Limits(seconds=1.0))

    assert run.ending is ending
    assert time.monotonic() - began < 6.0
    assert len(run.stdout) + len(run.stderr) < 3 * 2**20


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("x = bytearray(2**31)", "MemoryError"),
        ("x = []\nwhile 1: x.append(bytearray(2**24))", "MemoryError"),
        ("import mmap; mmap.mmap(-1, 2**34)", "Cannot allocate memory"),
        (
            "import threading as t, time\nwhile True: t.Thread(target=time.sleep, args=(99,), daemon=True).start()",
            "can't start new thread",
        ),
        ("import os\nwhile 1: os.dup(0)", "Too many open files"),
        ("import os; os.write(os.open('/dev/null', os.O_WRONLY), b'x'); print('written')", "written"),
    ],
)
def test_memory_threads_and_files_have_an_end(jail: Jail, source: str, words: str) -> None:
    assert words in said(jail, source)


def test_a_program_that_lasts_longer_than_its_cpu_seconds_is_over(jail: Jail) -> None:
    busy = "import threading\ndef f():\n  while 1: pass\nfor _ in range(4): threading.Thread(target=f).start()\nf()"
    run = jail.run(busy, stdin="", limits=Limits(seconds=2.0))

    assert run.ending is Ending.TIME
    assert run.cpu_seconds < 4.0


def test_one_program_leaves_nothing_for_the_next(jail: Jail) -> None:
    jail.run(
        "import builtins, sys; builtins.print = None; sys.modules['math'] = 7; __import__('gc').disable()",
        stdin="",
        limits=LIMITS,
    )

    assert said(jail, "import math; print(math.floor(6.5))") == "6\n"


def test_surrogates_nul_and_bytes_pass_as_they_are(jail: Jail) -> None:
    assert said(jail, "print(len(input()))", stdin="a\x00b\n") == "3\n"
    assert said(jail, "import sys; sys.stdout.buffer.write(b'\\xff6')") == "\ufffd6"
    assert "surrogates not allowed" in said(jail, "print(repr('\ud83d'))")


def test_a_program_cannot_pretend_that_the_jail_failed(jail: Jail) -> None:
    run = jail.run(
        "import os, sys; sys.stderr.write('the jail cannot be entered'); os._exit(70)", stdin="", limits=LIMITS
    )

    assert (run.ending, run.code) == (Ending.EXITED, 70)


def test_a_program_that_cannot_be_confined_is_not_run(jail: Jail) -> None:
    with pytest.raises(Unavailable, match="the jail could not be entered"):
        jail.run("print(1)", stdin="", limits=Limits(seconds=30.0, memory_bytes=2**70))


def children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def descendants(pid: int) -> set[int]:
    """Processes that `pid` started, and theirs."""
    found = set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return found.union(*map(descendants, found)) if found else found


def is_gone(pid: int, *, within: float = 5.0) -> bool:
    ends = time.monotonic() + within
    while Path(f"/proc/{pid}").exists() and time.monotonic() < ends:
        time.sleep(0.02)
    return not Path(f"/proc/{pid}").exists()


def test_a_keeper_that_dies_is_noticed() -> None:
    before = children()
    with open_jail() as opened:
        for pid in children() - before:
            os.kill(pid, 9)
        with pytest.raises(Unavailable, match="keeper is gone"):
            opened.run("print(1)", stdin="", limits=LIMITS)


def test_the_whole_tree_dies_with_the_jail() -> None:
    before = children()
    with open_jail() as opened:
        (keeper,) = children() - before
        tree = {keeper, *descendants(keeper)}
        opened.run("print(1)", stdin="", limits=LIMITS)

    assert all(map(is_gone, tree))


def test_a_program_dies_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    asking = (
        "import os\n"
        "from rlvr_trainer.jail.boundary import Limits, open_jail\n"
        "with open_jail() as jail:\n"
        "  os.write(1, b'open')\n"
        "  jail.run('while 1: pass', stdin='', limits=Limits(seconds=600))\n"
    )
    reading, writing = os.pipe()
    worker = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", asking],
        os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)],
    )
    os.close(writing)
    assert os.read(reading, 100) == b"open"
    os.close(reading)
    time.sleep(0.5)
    tree = descendants(worker)
    os.kill(worker, 9)
    os.waitpid(worker, 0)

    assert len(tree) >= 2
    assert all(map(is_gone, tree))


def test_what_the_jail_has_here_is_exported() -> None:
    board = Board("rlvr_reward_")
    look_at_jail(board)

    assert b'rlvr_reward_jail_layer{layer="seccomp"} 1.0' in board.render()
    assert b'rlvr_reward_jail_layer{layer="landlock-files"} 1.0' in board.render()
