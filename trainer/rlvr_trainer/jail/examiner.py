"""The examiner: runs a record's tests in a process of its own and asks the program's process for every result.

    {"prelude": source, "names": {name in the tests: name in the program}, "tests": [source, ...]}
    -> {"passed": n, "problem": None | text, "broken": bool}

Tests stop at the first failure.  What comes back from the program are plain values or `Remote` handles, which cannot be
compared and are neither true nor false: only plain values can satisfy a test.
Limit: tests that look at the program's objects in other ways than attributes, calls and iteration fail.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from typing import Any, Final

from rlvr_trainer.jail.calls import Gone, receive, send
from rlvr_trainer.jail.values import decode, encode

_CONTROL: Final = (AssertionError, StopIteration, StopAsyncIteration)


class ProgramError(Exception):
    """The program raised something whose type is not Python's own."""


class BrokenTests(Exception):
    """The tests themselves cannot be run."""


class Line:
    """The connection to the program."""

    def __init__(self, file: int) -> None:
        self._file = file

    def ask(self, **order: Any) -> Any:
        """What the program answered; raises what it raised, if that is an exception of Python's own, or Gone."""
        try:
            send(self._file, order)
        except OSError as problem:
            raise Gone(str(problem)) from problem
        answer = receive(self._file)
        try:
            if "raised" in answer:
                raise _exception(*map(str, answer["raised"]))
            return decode(answer["value"], self._remote)
        except (KeyError, TypeError, ValueError, RecursionError) as problem:
            if isinstance(answer, dict) and "raised" in answer:
                raise
            raise Gone(f"not an answer: {problem!r:.100}") from problem

    def encoded(self, value: Any) -> Any:
        return encode(value, _handle_of)

    def _remote(self, number: int, kind: str) -> Remote:
        return Remote(self, number, kind)


class Remote:
    """An object or function of the program."""

    def __init__(self, line: Line, target: int | str, kind: str) -> None:
        object.__setattr__(self, "_remote_line", line)
        object.__setattr__(self, "_remote_target", target)
        object.__setattr__(self, "_remote_kind", kind)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        line = self._remote_line
        encoded = {key: line.encoded(value) for key, value in named.items()}
        return self._ask(do="call", arguments=line.encoded(list(arguments)), named=encoded)

    def __getattr__(self, name: str) -> Any:
        return self._ask(do="get", name=name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._ask(do="set", name=name, value=self._remote_line.encoded(value))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._ask(do="list"))

    def __eq__(self, other: object) -> bool:
        raise TypeError(f"the program returned a {self._remote_kind}, which is no plain value")

    __ne__ = __lt__ = __gt__ = __le__ = __ge__ = __eq__
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError(f"the program returned a {self._remote_kind}, which is no plain value")

    def __repr__(self) -> str:
        return f"<{self._remote_kind} of the program>"

    def _ask(self, **order: Any) -> Any:
        return self._remote_line.ask(on=self._remote_target, **order)


def examine(exam: dict[str, Any], file: int) -> dict[str, Any]:
    """The report on a program that answers at `file`."""
    line = Line(file)
    namespace: dict[str, Any] = {"__name__": "tests"}
    try:
        tests = [compile(test, "tests", "exec") for test in exam["tests"]]
        exec(compile(exam["prelude"], "prelude", "exec"), namespace)  # noqa: S102 - the record's own code
    except Gone as problem:
        return _report(0, f"the program is gone: {problem}")
    except BaseException as problem:  # noqa: BLE001 - test code of the data set
        return _report(0, f"{type(problem).__name__}: {problem}", broken=True)
    namespace |= {name: Remote(line, target, "function") for name, target in exam["names"].items()}
    for index, test in enumerate(tests):
        failure = _failure(test, exam["tests"][index], namespace)
        if failure is not None:
            return _report(index, failure, broken=failure.startswith(BrokenTests.__name__))
    return _report(len(tests), None)


def _failure(test: Any, source: str, namespace: dict[str, Any]) -> str | None:
    """Why a test fails; None when it passes."""
    try:
        exec(test, namespace)  # noqa: S102 - the record's own code
    except Gone as problem:
        return f"the program is gone: {problem}"
    except AssertionError as problem:
        return f"{_line_of(problem, source)} {problem}".strip()
    except BaseException as problem:  # noqa: BLE001 - test code of the data set, or what the program raised
        return f"{type(problem).__name__}: {problem}"
    return None


def _line_of(problem: BaseException, source: str) -> str:
    """The line of the tests where `problem` was raised."""
    place, number = problem.__traceback__, 0
    while place is not None:
        if place.tb_frame.f_code.co_filename == "tests":
            number = place.tb_lineno
        place = place.tb_next
    lines = source.splitlines()
    return lines[number - 1].strip()[:200] if 0 < number <= len(lines) else "a test failed"


def _exception(name: str, text: str) -> Exception:
    """What the program raised, as one of Python's own exceptions where it is.

    Not StopIteration: under `all(map(...))` it would end the tests early and well.
    """
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, _CONTROL):
        try:
            return kind(text)
        except TypeError:
            pass
    return ProgramError(f"{name}: {text}")


def _handle_of(value: Any) -> int:
    """The number of a program's own object that a test hands back."""
    target = object.__getattribute__(value, "_remote_target") if isinstance(value, Remote) else None
    if not isinstance(target, int):
        raise BrokenTests(f"a test hands over a {type(value).__name__}, which is no plain value")
    return target


def _report(passed: int, problem: str | None, *, broken: bool = False) -> dict[str, Any]:
    return {"passed": passed, "problem": None if problem is None else problem[:500], "broken": broken}
