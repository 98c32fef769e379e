r"""Verifiers against reference answers: what is right must be judged right, and what is not must not.

MATH-500 and GSM8K: every reference answer, written in five ways, is right, and another problem's answer is not.
HumanEval and MBPP: every reference solution passes in the jail, and with one small error put in it fails.
Prints every miss, then one line of JSON.  Exit code 1 below 99.5 % right, when a wrong answer passes, when a solution
fails, or when no error in a solution is noticed.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from multiprocessing import get_context
from typing import Any, Final

from bench.mutants import changed
from bench.reference_data import HUMAN_EVAL, MBPP, gsm8k_answers, math500_answers, problems
from rlvr_trainer.jail.boundary import Jail, open_jail
from rlvr_trainer.samples import Task, Verdict
from rlvr_trainer.verifiers import mathematics
from rlvr_trainer.verifiers.answers import number
from rlvr_trainer.verifiers.code.records import FunctionTests, read_tests
from rlvr_trainer.verifiers.code.verify import judge_program
from rlvr_trainer.verifiers.verdicts import error

Write = Callable[[str], str]
_LEAST_RIGHT: Final = 0.995
_SOLUTION_SECONDS: Final = 120.0
_MUTANT_SECONDS: Final = 5.0


def redressed(answer: str) -> str:
    r"""The same LaTeX by another hand: \dfrac, no \left and \right, a space after each comma."""
    plain = re.sub(r"\\(?:left|right)(?![a-z])", "", answer).replace("\\frac", "\\dfrac")
    return re.sub(r",(?!\d|\\!)\s*", ", ", plain)


def rewritten(answer: str) -> str:
    """A number with separators, a fraction on one line, anything else behind a name."""
    if re.fullmatch(r"\d{4,}", answer):
        return f"{int(answer):,}".replace(",", "{,}")
    ratio = re.fullmatch(r"\\frac\{(\d+)\}\{(\d+)\}", answer)
    if ratio:
        return "/".join(ratio.groups())
    return answer if "=" in answer or "\\in " in answer or "," in answer else f"x = {answer}"


def with_cents(answer: str) -> str:
    value = number(answer.replace(",", ""))
    return answer if value is None else f"{float(value):,.2f}"


WAYS: Final[dict[str, tuple[Write, ...]]] = {
    "math500": (
        lambda answer: f"So it is \\boxed{{{answer}}}.",
        lambda answer: f"The final answer is ${answer}$.",
        lambda answer: f"It was long.\n#### {answer}",
        lambda answer: f"First \\boxed{{0}}, no:\n\\[ \\boxed{{ {redressed(answer)} }} \\]",
        lambda answer: f"**Answer:** ${rewritten(answer)}$",
    ),
    "gsm8k": (
        lambda answer: f"3 + 4 = 7, and so on.\n#### {answer}",
        lambda answer: f"So it is \\boxed{{{answer}}}.",
        lambda answer: f"**The answer is {answer}.**",
        lambda answer: f"She pays \\boxed{{\\${with_cents(answer)}}}",
        lambda answer: f"After 3 days and 2 hours she has {answer} dollars.",
    ),
}


def told(judge: Callable[[], Verdict]) -> Verdict:
    try:
        return judge()
    except Exception as problem:  # noqa: BLE001 - as the service's workers do
        return error(repr(problem))


def judge_answers(name: str, pairs: list[tuple[str, str]]) -> tuple[int, list[str], list[str]]:
    """What math-verify alone misses; our misses, and wrong answers taken for right ones, as lines."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    alone, missed, fooled = 0, [], []
    for answer, other in pairs:
        for write in WAYS[name]:
            text = write(answer)
            verdict = told(partial(mathematics.judge_mathematics, Task(answer=answer), text))
            alone += not told(partial(mathematics.judge_algebra, answer, text)).is_correct
            if not verdict.is_correct:
                missed.append(f"missed   {name} | {answer} | in {text!r} | {verdict.reason}")
        wrong = told(partial(mathematics.judge_mathematics, Task(answer=answer), WAYS[name][0](other)))
        if wrong.is_correct:
            fooled.append(f"fooled   {name} | {answer} | by {other}")
    return alone, missed, fooled


def with_others(answers: list[str]) -> list[tuple[str, str]]:
    """For each answer the next problem's that is another one: not the same behind an `x =`."""
    bare = [re.sub(r"^[a-z]\s*=\s*", "", answer) for answer in answers] * 2
    others = [next(other for other in bare[index + 1 :] if other != bare[index]) for index in range(len(answers))]
    return list(zip(answers, others, strict=True))


def math_part(name: str, answers: list[str], *, workers: int) -> dict[str, Any]:
    pairs = with_others(answers)
    with get_context("spawn").Pool(workers) as pool:
        parts = pool.starmap(judge_answers, [(name, pairs[at::workers]) for at in range(workers)])
    for line in chain.from_iterable(part[1] + part[2] for part in parts):
        print(line, flush=True)
    judged, missed = len(WAYS[name]) * len(answers), sum(len(part[1]) for part in parts)
    return {
        "problems": len(answers),
        "judged": judged,
        "rightRatio": round(1 - missed / judged, 5),
        "mathVerifyAloneRatio": round(1 - sum(part[0] for part in parts) / judged, 5),
        "fooled": sum(len(part[2]) for part in parts),
    }


def code_part(name: str, most: int) -> dict[str, Any]:
    """Reference solutions of a data set, and the same with an error."""
    passed = changes = noticed = problems_noticed = 0
    records = problems(name)[:most]
    with open_jail() as jail:
        for record in records:
            title, source, tests = solution(name, record)
            verdict = told(partial(judge_program, jail, source, tests, seconds=_SOLUTION_SECONDS))
            passed += verdict.is_correct
            if not verdict.is_correct:
                print(f"failed   {title} | {verdict.reason}")
            fails = mutants_that_fail(jail, source, tests)
            changes, noticed = changes + len(fails), noticed + sum(fails)
            problems_noticed += any(fails)
            if not any(fails):
                print(f"survived {title}")
    return {
        "problems": len(records),
        "passed": passed,
        "problemsWithAChangeNoticed": problems_noticed,
        "changes": changes,
        "changesNoticed": noticed,
    }


def mutants_that_fail(jail: Jail, source: str, tests: FunctionTests) -> list[bool]:
    programs = changed(tests.program(source))
    return [
        not told(partial(judge_program, jail, each, tests, seconds=_MUTANT_SECONDS)).is_correct for each in programs
    ]


def solution(name: str, record: dict[str, Any]) -> tuple[str, str, FunctionTests]:
    field, source = ("test", "canonical_solution") if name == HUMAN_EVAL else ("test_list", "code")
    tests = read_tests(record, field_name=field, most=16)
    assert isinstance(tests, FunctionTests)
    return str(record["task_id"]), record[source], tests


def is_well(report: dict[str, dict[str, Any]]) -> bool:
    answers = [report[name] for name in WAYS]
    code = [report[name] for name in ("humaneval", "mbpp")]
    return all(part["rightRatio"] >= _LEAST_RIGHT and not part["fooled"] for part in answers) and all(
        part["passed"] == part["problems"] == part["problemsWithAChangeNoticed"] for part in code
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=9999, help="only the first so many problems of each data set")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    began = time.monotonic()
    report = {
        "math500": math_part("math500", math500_answers()[: options.most], workers=options.workers),
        "gsm8k": math_part("gsm8k", gsm8k_answers()[: options.most], workers=options.workers),
        "humaneval": code_part(HUMAN_EVAL, options.most),
        "mbpp": code_part(MBPP, options.most),
    }
    print(json.dumps({**report, "seconds": round(time.monotonic() - began)}))
    return 0 if is_well(report) else 1


if __name__ == "__main__":
    sys.exit(main())
