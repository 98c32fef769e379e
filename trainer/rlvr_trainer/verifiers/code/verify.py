"""Programs against their tests, in the jail, and what the verdict is.

correct     every test passed
wrong       a test did not: another output, an exception, a limit; the reason names the test
malformed   there is no closed code block, or it is not Python
error       the tests or the jail failed, not the program

All tests of a completion share its time.  A program that runs out of it is wrong, not an error: the tests were fair.
"""

from __future__ import annotations

import time
import weakref
from contextlib import ExitStack
from typing import Final

from rlvr_api.reward import CodeVerifier
from rlvr_trainer.errors import InvalidInput, TrainerError
from rlvr_trainer.jail.boundary import Ending, Jail, Limits, Run, open_jail
from rlvr_trainer.jail.inside import EXIT_NOT_PYTHON
from rlvr_trainer.samples import Task, Verdict
from rlvr_trainer.verifiers.code.blocks import last_block
from rlvr_trainer.verifiers.code.outputs import first_difference, is_same
from rlvr_trainer.verifiers.code.records import FunctionTests, StreamTests, read_tests
from rlvr_trainer.verifiers.verdicts import Verifier, correct, malformed, shown, wrong

_SPARE_OUTPUT: Final = 2**16


def make(spec: CodeVerifier, *, seconds: float) -> Verifier:
    """Run programs for at most `seconds` an item; InvalidInput when this machine is below the jail's minimum."""
    bench = Bench()
    bench.jail()

    def verify(task: Task, text: str) -> Verdict:
        tests = read_tests(task.metadata, field_name=spec.tests_field, most=spec.max_tests)
        source = last_block(text)
        if source is None:
            return malformed("there is no closed code block")
        try:
            return judge_program(bench.jail(), source, tests, seconds=seconds)
        except TrainerError:
            bench.close()
            raise

    weakref.finalize(verify, bench.close)
    return verify


class Bench:
    """A jail that is opened when needed and kept."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._jail: Jail | None = None

    def jail(self) -> Jail:
        if self._jail is None:
            self._jail = self._stack.enter_context(open_jail())
        return self._jail

    def close(self) -> None:
        self._jail = None
        self._stack.close()


def judge_program(jail: Jail, source: str, tests: StreamTests | FunctionTests, *, seconds: float) -> Verdict:
    """The verdict on a program."""
    if isinstance(tests, StreamTests):
        return _judge_streams(jail, source, tests, seconds=seconds)
    return _judge_functions(jail, source, tests, seconds=seconds)


def _judge_streams(jail: Jail, source: str, tests: StreamTests, *, seconds: float) -> Verdict:
    ends = time.monotonic() + seconds
    for number, (given, expected) in enumerate(tests.cases, start=1):
        limits = Limits(seconds=max(ends - time.monotonic(), 0.001), output_bytes=_SPARE_OUTPUT + 2 * len(expected))
        run = jail.run(source, stdin=given, limits=limits)
        if run.code == EXIT_NOT_PYTHON:
            return malformed(f"the code block is not Python: {_last_words(run)}")
        problem = _complaint(run, seconds=seconds) or _difference(run.stdout, expected)
        if problem is not None:
            return wrong(f"test {number} of {len(tests.cases)}: {problem}")
    return correct()


def _judge_functions(jail: Jail, source: str, tests: FunctionTests, *, seconds: float) -> Verdict:
    exam = {"prelude": tests.prelude, "names": dict(tests.names), "tests": list(tests.tests)}
    found = jail.examine(tests.program(source), exam, limits=Limits(seconds=seconds))
    if found.is_broken:
        raise InvalidInput(f"the record's tests cannot be run: {found.problem}")
    if found.problem is None:
        return correct()
    if found.program.code == EXIT_NOT_PYTHON:
        return malformed(f"the code block is not Python: {_last_words(found.program)}")
    problem = _complaint(found.program, seconds=seconds) or found.problem
    return wrong(f"test {found.passed + 1} of {len(tests.tests)}: {problem}")


def _difference(printed: str, expected: str) -> str | None:
    if is_same(printed, expected):
        return None
    found, wanted = first_difference(printed, expected)
    return f"printed {shown(found)}, expected {shown(wanted)}"


def _complaint(run: Run, *, seconds: float) -> str | None:
    """What is wrong with how a program ended; None when it ended well."""
    if run.ending is Ending.TIME:
        return f"not done within {seconds:.3g} s"
    if run.ending is Ending.OUTPUT:
        return "printed far more than expected"
    if run.ending is Ending.KILLED:
        return f"ended by signal {-run.code}"
    return None if run.code <= 0 else f"exit code {run.code}: {_last_words(run)}"


def _last_words(run: Run) -> str:
    lines = run.stderr.strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"
