"""A framework that repeats itself is heard once a minute; our own lines always."""

import logging

from rlvr_operator.logs import NoFlood
from runtime_fakes import Clock


def a_line(text: str, name: str = "kopf.clients") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "file", 1, text, None, None)


def test_lines_that_differ_in_numbers_only_are_held_back_and_counted() -> None:
    clock = Clock()
    flood = NoFlood(clock)
    passed = [flood.filter(a_line(f"Request attempt #{n}; will retry <object 0x{n:x}>")) for n in range(30)]
    clock.turn(61.0)
    last = a_line("Request attempt #99; will retry <object 0xff>")

    assert passed == [True] + [False] * 29
    assert flood.filter(last)
    assert last.getMessage().endswith("(and 29 like it before)")


def test_different_lines_and_our_own_pass() -> None:
    flood = NoFlood(Clock())

    assert flood.filter(a_line("one thing"))
    assert flood.filter(a_line("another thing"))
    assert flood.filter(a_line("one thing", name="asyncio"))
    assert all(flood.filter(a_line("job 7 failed", name="rlvr_operator.controller")) for _ in range(3))
