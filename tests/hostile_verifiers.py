"""Verifiers that misbehave when the completion says so; named in jobs as `hostile_verifiers:verify`."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from rlvr_trainer.samples import Task


def verify(task: Task, text: str) -> Any:
    """Do what the first word says; anything else is compared with the reference."""
    word, _, rest = text.partition(" ")
    return DEEDS[word](rest) if word in DEEDS else float(text == task.answer)


def spin() -> None:
    while True:
        pass


def hoard() -> None:
    kept = []
    while True:
        kept.append(bytearray(2**24))


def fork_and_sleep(told: Path, *, leave: bool = False) -> float:
    """Leave a child behind that would live for an hour, its process id in the file `told`, then hang."""
    child = os.fork()
    if child == 0:
        if leave:
            os.setsid()
        time.sleep(3600)
        os._exit(0)
    told.write_text(str(child))
    time.sleep(3600)
    return 1.0


def is_open(file: int) -> bool:
    return Path(f"/proc/self/fd/{file}").exists()


def print_and_fail(rest: str) -> float:
    print(rest * 10_000)
    raise RuntimeError(rest)


DEEDS: Final[dict[str, Callable[[str], Any]]] = {
    "spin": lambda _: spin(),
    "power": lambda _: len(str(9**9**8)),  # one C call that no signal handler interrupts
    "exit": lambda rest: os._exit(int(rest)),
    "kill": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    "stop": lambda _: os.kill(os.getpid(), signal.SIGSTOP),
    "allocate": lambda _: bytearray(2**40),
    "hoard": lambda _: hoard(),
    "fork": lambda rest: fork_and_sleep(Path(rest)),
    "leave": lambda rest: fork_and_sleep(Path(rest), leave=True),
    "return-twice": lambda _: float(os.fork() >= 0),
    "print": print_and_fail,
    "forge": lambda _: [os.write(file, b"\xff" * 1000) for file in range(3, 8) if is_open(file)],
    "odd": lambda rest: rest,
    "environment": lambda rest: float(rest in os.environ),
    "sleep": lambda rest: time.sleep(float(rest)) or 1.0,
}
