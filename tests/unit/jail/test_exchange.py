"""A conversation with a keeper that is a thread of the test."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rlvr_trainer.errors import Unavailable
from rlvr_trainer.jail.exchange import Exchange

Play = Callable[[list[int]], None]


@contextmanager
def a_keeper(play: Play, *, dies: bool = False) -> Iterator[socket.socket]:
    """The connection to a keeper whose every program is `play` on its files; it buries at once what it must kill."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    playing: list[threading.Thread] = []

    def keep() -> None:
        while True:
            data, files, _, _ = socket.recv_fds(theirs, 4096, 8)
            if not data or dies:
                theirs.close()
                return
            order = json.loads(data)
            if "kill" in order:
                bury(order["kill"])
            else:
                playing.append(threading.Thread(target=perform, args=(order["launch"], files)))
                playing[-1].start()

    def perform(name: str, files: list[int]) -> None:
        play(files)
        for file in files:
            os.close(file)
        bury(name)

    def bury(name: str) -> None:
        try:
            theirs.send(json.dumps({"ended": name, "status": 0, "entered": True, "cpu": 0.0, "memory": 0}).encode())
        except OSError:
            return

    keeping = threading.Thread(target=keep)
    with ours:
        keeping.start()
        try:
            yield ours
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            keeping.join()
            for thread in playing:
                thread.join()


def launched(exchange: Exchange, *, content: bytes = b"", most_bytes: int = 100) -> int:
    """Start a program that reads `content`; the key of what it writes."""
    output, key = exchange.hearing("program", most_bytes=most_bytes)
    exchange.launch("program", "program", (exchange.feeding(content), output), cpu_seconds=1, memory_bytes=1)
    return key


def copy(files: list[int]) -> None:
    while data := os.read(files[0], 2**16):
        os.write(files[1], data)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count


def test_a_program_reads_and_is_heard_to_its_end() -> None:
    with a_keeper(copy) as connection, Exchange(connection) as exchange:
        key = launched(exchange, content=b"x" * 10**6, most_bytes=10**6)
        exchange.follow(seconds=30, ends_all="program")

        assert exchange.written(key) == b"x" * 10**6
        assert exchange.reasons == {}
        assert exchange.reports["program"]["entered"]


def test_more_output_than_allowed_ends_a_program_and_its_pipe() -> None:
    def flood(files: list[int]) -> None:
        try:
            while True:
                os.write(files[1], b"y" * 1000)
        except BrokenPipeError:
            return

    with a_keeper(flood) as connection, Exchange(connection) as exchange:
        key = launched(exchange)
        exchange.follow(seconds=30, ends_all="program")

        assert exchange.reasons == {"program": "output"}
        assert 100 < len(exchange.written(key)) <= 100 + 2**16


def test_time_ends_a_program() -> None:
    stop = threading.Event()
    with a_keeper(lambda _: stop.wait(30) and None) as connection, Exchange(connection) as exchange:
        launched(exchange)
        began = time.monotonic()
        exchange.follow(seconds=0.2, ends_all="program")
        stop.set()

        assert exchange.reasons == {"program": "time"}
        assert 0.2 <= time.monotonic() - began < 5


def test_what_a_program_does_not_read_is_no_problem() -> None:
    with a_keeper(lambda _: None) as connection, Exchange(connection) as exchange:
        launched(exchange, content=b"x" * 10**6)
        exchange.follow(seconds=30, ends_all="program")

        assert exchange.reasons == {}


def test_a_keeper_that_is_gone_is_told() -> None:
    with a_keeper(copy, dies=True) as connection, Exchange(connection) as exchange:
        launched(exchange)
        with pytest.raises(Unavailable, match="keeper is gone"):
            exchange.follow(seconds=30, ends_all="program")


def test_no_file_stays_open_whatever_happened() -> None:
    before = open_files()

    def conversation(seconds: float, **parts: Any) -> None:
        with a_keeper(copy) as connection, Exchange(connection) as exchange:
            exchange.pair()
            launched(exchange, **parts)
            exchange.follow(seconds=seconds, ends_all="program")

    conversation(30.0, content=b"x" * 1000)
    conversation(30.0)
    assert open_files() == before
