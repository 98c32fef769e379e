"""Programs against their tests in the real jail: verdicts, reasons, and no way to pass without being right."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlvr_api.reward import CodeVerifier
from rlvr_trainer.cli.manifest import load_manifest
from rlvr_trainer.errors import InvalidInput, Unavailable
from rlvr_trainer.jail.boundary import Examined, Jail, Limits, open_jail
from rlvr_trainer.samples import Finish, Outcome, Task, Verdict
from rlvr_trainer.verifiers.code.records import read_tests
from rlvr_trainer.verifiers.code.verify import Bench, judge_program, make
from rlvr_trainer.verifiers.composition import grade
from rlvr_trainer.verifiers.registry import verifier_for

Record = dict[str, Any]
DOUBLE: Record = {"tests": [{"input": "3\n", "output": "6\n"}, {"input": "0\n", "output": "0\n"}]}
MBPP: Record = {"tests": ["assert double(3) == 6", "assert double('a') == 'aa'"]}
HUMAN_EVAL: Record = {
    "prompt": 'from typing import List\n\ndef double(x: List[int]) -> List[int]:\n    """Twice."""\n',
    "entry_point": "double",
    "tests": "def check(candidate):\n    assert candidate([3]) == [6]\n    assert candidate([]) == []\n",
}
TREE: Record = {
    "tests": ["assert total(root) == 6"],
    "test_setup_code": "root = Node(1)\nroot.left = Node(2)\nroot.right = Node(3)",
}


@pytest.fixture(scope="module")
def jail() -> Iterator[Jail]:
    with open_jail() as opened:
        yield opened


def judged(jail: Jail, source: str, record: Record, *, seconds: float = 60.0) -> Verdict:
    return judge_program(jail, source, read_tests(record, field_name="tests", most=16), seconds=seconds)


@pytest.mark.parametrize(
    ("source", "record"),
    [
        ("print(int(input()) * 2)", DOUBLE),
        ("def main():\n  print(2 * int(input()))\nif __name__ == '__main__': main()", DOUBLE),
        ("def double(x): return 2 * x", MBPP),
        ("class Solution:\n  def double(self, x): return x + x", MBPP),
        ("    return [2 * each for each in x]", HUMAN_EVAL),
        ("def double(x: List[int]): return [2 * each for each in x]", HUMAN_EVAL),
        (
            "def add(a, b): return a + b",
            {"tests": {"fn_name": "add", "inputs": [[1, 2], [[1], [2]]], "outputs": [3, [1, 2]]}},
        ),
        ("def f(x): return (x, [x])", {"tests": {"fn_name": "f", "inputs": [[1]], "outputs": [[1, [1]]]}}),
        (
            (
                "class Node:\n  def __init__(self, v): self.v, self.left, self.right = v, None, None\n"
                "def total(n): return n.v + total(n.left) + total(n.right) if n else 0"
            ),
            TREE,
        ),
    ],
)
def test_a_right_program_passes_in_every_form_of_tests(jail: Jail, source: str, record: Record) -> None:
    assert judged(jail, source, record) == Verdict(outcome=Outcome.CORRECT, score=1.0)


@pytest.mark.parametrize(
    ("source", "record", "reason"),
    [
        ("print(6)", DOUBLE, "test 2 of 2: printed '6', expected '0'"),
        ("print(int(input()) * 2 + 1)", DOUBLE, "test 1 of 2: printed '7', expected '6'"),
        ("input()", DOUBLE, "test 1 of 2: printed 'nothing', expected '6'"),
        ("print(1 / int(input()))", DOUBLE, "test 1 of 2: printed '0.3333333333333333', expected '6'"),
        ("import sys; sys.exit('no')", DOUBLE, "test 1 of 2: exit code 1: no"),
        ("x = int(input())\nprint(6 // x * x)", DOUBLE, "test 2 of 2: exit code 1: ZeroDivisionError"),
        ("print(int(input()) * 2)\nimport os; os.abort()", DOUBLE, "test 1 of 2: ended by signal 6"),
        ("print('x' * 10**6)", DOUBLE, "test 1 of 2: printed far more than expected"),
        ("def double(x): return x + 3", MBPP, "test 2 of 2: TypeError"),
        ("def double(x): return 3 * x", MBPP, "test 1 of 2: assert double(3) == 6"),
        ("def treble(x): return 3 * x", MBPP, "test 1 of 2: NameError: the program defines no 'double'"),
        ("1 / 0", MBPP, "test 1 of 2: exit code 1: ZeroDivisionError"),
        ("    return x", HUMAN_EVAL, "test 1 of 1: assert candidate([3]) == [6]"),
    ],
)
def test_a_wrong_program_fails_and_the_reason_names_the_test(
    jail: Jail, source: str, record: Record, reason: str
) -> None:
    verdict = judged(jail, source, record)

    assert (verdict.outcome, verdict.score) == (Outcome.WRONG, 0.0)
    assert verdict.reason.startswith(reason)


@pytest.mark.parametrize("record", [DOUBLE, MBPP, TREE])
@pytest.mark.parametrize(
    "source",
    [
        "while 1: pass",
        "import time; time.sleep(99)",
        "input = double = total = Node = lambda *_: [0 for _ in iter(int, 1)]\ninput()",
    ],
)
def test_a_program_that_does_not_end_is_wrong_not_an_error(jail: Jail, source: str, record: Record) -> None:
    verdict = judged(jail, source, record, seconds=1.0)

    assert verdict.outcome is Outcome.WRONG
    assert "not done within 1 s" in verdict.reason or "did not end in time" in verdict.reason


@pytest.mark.parametrize("record", [DOUBLE, MBPP, HUMAN_EVAL])
@pytest.mark.parametrize("source", ["def f(:", "```", "print 'x'", "x = " + "(" * 1000])
def test_what_is_not_python_is_malformed(jail: Jail, source: str, record: Record) -> None:
    verdict = judged(jail, source, record)

    assert verdict.outcome is Outcome.MALFORMED
    assert verdict.reason.startswith("the code block is not Python: ")


LIAR = """
class L(int):
  __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = lambda *_: True
  __hash__ = int.__hash__
"""
FORGED = """
import json, os
for file in range(64):
  for data in (b'{"passed": 1, "problem": null, "broken": false}', b'\\0\\0\\0\\x14{"value": {"i": "0x6"}}'):
    try: os.write(file, data)
    except OSError: pass
"""


@pytest.mark.parametrize(
    "source",
    [
        LIAR + "def f(x): return L(0)",
        "class O:\n  __eq__ = lambda *_: True\ndef f(x): return O()",
        "def f(x): raise StopIteration",
        "def f(x): raise AssertionError",
        "class M(AssertionError): pass\ndef f(x): raise M",
        "def f(x): raise SystemExit(0)",
        "def f(x):\n  import os; os._exit(0)",
        "import os; os._exit(0)",
        "raise SystemExit",
        "exit()",
        FORGED,
        FORGED + "def f(x): return 0",
        "def f(x):\n" + FORGED.replace("\n", "\n  ") + "\n  os._exit(0)",
        "import threading, time, os\nthreading.Timer(0.05, os._exit, (0,)).start()\ndef f(x): time.sleep(9)",
        "import os\ndef f(x): os.close(4)",
        "import os\nos.close(4)\ndef f(x): return 7",
        "import builtins\nbuiltins.AssertionError = builtins.Exception = type('E', (), {})\ndef f(x): return 0",
        "import sys\nsys.modules['json'] = None\nsys.settrace(lambda *_: None)\ndef f(x): return 0",
        "def f(x): return [[]] * 10**5",
        "def f(x): return 10**10**6",
        "def f(x): return f",
        "import gc\ndef f(x): return [o for o in gc.get_objects() if o == 7][:1]",
        "def f(x): return 'x' * 10**8",
    ],
)
def test_no_program_can_forge_a_pass(jail: Jail, source: str) -> None:
    verdict = judged(jail, source, {"tests": ["assert all(f(n) == n + 6 for n in (1, 2))"]}, seconds=20.0)

    assert (verdict.outcome, verdict.score) == (Outcome.WRONG, 0.0)


def an_exam(*tests: str) -> Record:
    return {"prelude": "", "names": {"f": "f"}, "tests": list(tests)}


def test_a_program_that_ends_before_its_examiner_has_not_passed(jail: Jail) -> None:
    found = jail.examine("import os; os._exit(0)", an_exam("assert f(1) == 2"), limits=Limits(seconds=30.0))

    assert (found.passed, found.is_broken) == (0, False)
    assert "gone" in str(found.problem)


def test_a_program_spared_because_its_examiner_was_through_is_no_failure_of_the_jail(jail: Jail) -> None:
    for _ in range(20):
        found = jail.examine("def f(x): return 2", an_exam("assert True"), limits=Limits(seconds=30.0))
        assert isinstance(found, Examined)
        assert (found.passed, found.problem) == (1, None)


def test_expected_results_are_nowhere_in_the_program_s_process(jail: Jail) -> None:
    found_in = "''.join(['xyz', 'zy']) in repr(gc.get_objects()) + repr(sys._getframe(1).f_locals)"
    source = f"import gc, sys\ndef f(x):\n  return {found_in}"

    passed = jail.examine(source, an_exam("assert f(1) is False, 'xyzzy'"), limits=Limits(seconds=30.0))

    assert (passed.passed, passed.problem) == (1, None)


def test_tests_that_cannot_be_run_are_the_judges_failure(jail: Jail) -> None:
    with pytest.raises(InvalidInput, match=r"the record's tests cannot be run: .*which is no plain value"):
        judged(jail, "def double(x): return 1", {"tests": ["assert double(lambda: 0)"]})
    with pytest.raises(InvalidInput, match="the record's tests cannot be run: ModuleNotFoundError"):
        judged(jail, "    return x", {**HUMAN_EVAL, "prompt": "import absent\n\ndef double(x):\n"})


def test_a_completion_is_judged_from_its_code_block_to_its_verdict() -> None:
    verify = make(CodeVerifier(), seconds=30.0)

    assert verify(Task(metadata=DOUBLE), "So:\n```python\nprint(int(input()) * 2)\n```\nDone.").is_correct
    unfinished = verify(Task(metadata=DOUBLE), "So:\n```python\nprint(int(inp")
    assert unfinished == Verdict(outcome=Outcome.MALFORMED, score=0.0, reason="there is no closed code block")
    assert grade(unfinished, finish=Finish.LENGTH).outcome is Outcome.TRUNCATED
    with pytest.raises(InvalidInput, match=r"Name the field with code\.testsField"):
        verify(Task(), "```python\n```")


def test_a_jail_that_failed_is_opened_again() -> None:
    bench = Bench()
    first = bench.jail()
    assert bench.jail() is first
    with pytest.raises(Unavailable):
        first.run("", stdin="", limits=Limits(seconds=30.0, memory_bytes=2**70))
    bench.close()

    second = bench.jail()
    assert second is not first
    assert second.run("print(6)", stdin="", limits=Limits(seconds=30.0)).stdout == "6\n"
    bench.close()


def test_the_code_example_s_verifier_runs_programs() -> None:
    job = load_manifest(Path(__file__).parents[2] / "examples" / "code-archer.yaml")
    (spec,) = job.spec.reward.verifiers
    verify = verifier_for(spec, deadline_seconds=job.spec.reward.timeout_seconds)

    assert verify(Task(metadata=DOUBLE), "```python\nprint(int(input()) * 2)\n```").outcome is Outcome.CORRECT
    assert verify(Task(metadata=DOUBLE), "```python\nprint(6)\n```").outcome is Outcome.WRONG
