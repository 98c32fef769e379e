"""Calls over a socket, between a thread that serves a program's functions and one that asks."""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rlvr_trainer.jail.calls import LONGEST_FRAME, Gone, receive, send, serve_calls
from rlvr_trainer.jail.examiner import examine

Ask = Callable[..., Any]
SOURCE = """
def double(x): return 2 * x
def fail(x): raise KeyError(x)
def endless():
    while True: yield 1
def huge(): return 'x' * 9_000_000
def odd(): return object()
class Node:
    def __init__(self, value, next=None): self.value, self.next = value, next
class Solution:
    def add(self, a, b): return a + b
"""


@contextmanager
def a_program(source: str) -> Iterator[int]:
    """A connection to a program whose functions are served until the block ends."""
    ours, theirs = socket.socketpair()
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    serving = threading.Thread(target=serve_calls, args=(namespace, theirs.fileno()))
    with ours, theirs:
        serving.start()
        try:
            yield ours.fileno()
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            serving.join()


@pytest.fixture
def ask() -> Iterator[Ask]:
    with a_program(SOURCE) as file:

        def asked(on: Any, *arguments: Any, do: str = "call", **more: Any) -> Any:
            send(file, {"do": do, "on": on, "arguments": list(arguments), "named": {}, **more})
            return receive(file)

        yield asked


def test_functions_and_methods_of_a_solution_answer_with_values(ask: Ask) -> None:
    assert ask("double", {"i": "0x3"}) == {"value": {"i": "0x6"}}
    assert ask("add", "a", "b") == {"value": "ab"}


def test_what_a_program_raises_is_its_answer(ask: Ask) -> None:
    assert ask("fail", "x") == {"raised": ["KeyError", "'x'"]}
    assert ask("absent") == {"raised": ["NameError", "the program defines no 'absent'"]}
    assert ask("double", do="list") == {"raised": ["TypeError", "'function' object is not iterable"]}


def test_objects_stay_with_the_program_and_are_asked_by_number(ask: Ask) -> None:
    assert ask("Node", {"i": "0x7"}) == {"value": {"h": [0, "Node"]}}
    assert ask(0, do="get", name="value") == {"value": {"i": "0x7"}}
    assert ask(0, do="set", name="value", value="new") == {"value": None}
    assert ask(0, do="get", name="value") == {"value": "new"}
    assert ask("Node", "a", {"h": [0, "Node"]}) == {"value": {"h": [1, "Node"]}}


def test_endless_iterators_and_huge_results_are_bounded(ask: Ask) -> None:
    assert ask("endless") == {"value": {"h": [0, "generator"]}}
    assert len(ask(0, do="list")["value"]) == 100_000
    assert ask("huge") == {"raised": ["ValueError", f"it returned more than {LONGEST_FRAME} bytes"]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x00",
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02{",
        b"\x00\x00\x00\x02{]",
        b"\x00\x02\x00\x00" + b"[" * 2**17,
    ],
)
def test_what_is_no_frame_ends_the_conversation(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        ours.close()
        with pytest.raises(Gone):
            receive(theirs.fileno())


def exam(*tests: str, names: tuple[str, ...] = ("double",), prelude: str = "") -> dict[str, Any]:
    return {"prelude": prelude, "names": {name: name for name in names}, "tests": list(tests)}


def report(source: str, *tests: str, **parts: Any) -> dict[str, Any]:
    with a_program(source) as file:
        return examine(exam(*tests, **parts), file)


def test_all_tests_pass_or_the_first_that_does_not_is_told() -> None:
    assert report(SOURCE, "assert double(1) == 2", "assert double('a') == 'aa'") == {
        "passed": 2,
        "problem": None,
        "broken": False,
    }
    failed = report(SOURCE, "assert double(1) == 2", "assert double(2) == 5", "assert double(3) == 6")
    assert failed == {"passed": 1, "problem": "assert double(2) == 5", "broken": False}


def test_what_the_program_raised_is_raised_in_the_tests() -> None:
    caught = "try:\n  fail('k')\nexcept KeyError:\n  pass\nelse:\n  raise AssertionError"

    assert report(SOURCE, caught, names=("fail",))["problem"] is None
    assert report(SOURCE, "fail('k')", names=("fail",))["problem"] == "KeyError: \"'k'\""


@pytest.mark.parametrize("kind", ["StopIteration", "AssertionError", "GeneratorExit", "SystemExit", "Mine"])
def test_no_exception_of_the_program_ends_the_tests_well(kind: str) -> None:
    source = f"class Mine(BaseException): pass\ndef double(x): raise {kind}()"
    found = report(source, "assert all(map(lambda n: double(n) == 2 * n, range(3)))")

    assert (found["passed"], found["broken"]) == (0, False)
    assert kind in found["problem"]


@pytest.mark.parametrize("test", ["assert odd() == odd()", "assert odd()", "assert odd() in [1]", "assert not odd()"])
def test_an_object_satisfies_no_comparison(test: str) -> None:
    found = report(SOURCE, test, names=("odd",))

    assert found["problem"] == "TypeError: the program returned a object, which is no plain value"


def test_objects_can_be_made_linked_and_looked_at() -> None:
    test = "first = Node(1, Node(2))\nassert first.next.value == 2\nfirst.value = 5\nassert first.value == 5"

    assert report(SOURCE, test, names=("Node",))["problem"] is None


def test_tests_that_cannot_be_run_are_broken() -> None:
    assert report(SOURCE, "assert double(")["broken"]
    assert report(SOURCE, "pass", prelude="1 / 0") == {
        "passed": 0,
        "problem": "ZeroDivisionError: division by zero",
        "broken": True,
    }
    handed = report(SOURCE, "assert double(lambda: 0)")
    assert handed["broken"]
    assert "a test hands over a function, which is no plain value" in handed["problem"]


def test_a_program_that_is_gone_passes_nothing() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        found = examine(exam("assert double(1) == 2"), ours.fileno())

    assert found["problem"].startswith("the program is gone")
    assert not found["broken"]


@pytest.mark.parametrize("answer", [b"[]", b"{}", b"7", b'{"value": {"x": 1}}', b'{"raised": 3}', b'"value"'])
def test_an_answer_that_is_none_passes_nothing(answer: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        os.write(theirs.fileno(), len(answer).to_bytes(4, "big") + answer)
        found = examine(exam("assert double(1) == 2"), ours.fileno())

    assert found["passed"] == 0
    assert found["problem"]
