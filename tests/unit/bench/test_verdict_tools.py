"""What `make verdicts` writes and breaks: ways of writing an answer, and small errors in programs."""

import ast

import pytest

from bench.mutants import changed
from bench.verdicts import WAYS, is_well, judge_answers, redressed, rewritten, with_cents, with_others


def test_answers_are_written_in_five_ways() -> None:
    assert [len(ways) for ways in WAYS.values()] == [5, 5]
    assert redressed("\\left(3,\\frac{\\pi}{2}\\right)") == "(3, \\dfrac{\\pi}{2})"
    assert redressed("1,000") == "1,000"
    assert [rewritten(answer) for answer in ("1234", "\\frac{1}{2}", "7", "x=7", "1,2")] == [
        "1{,}234",
        "1/2",
        "x = 7",
        "x=7",
        "1,2",
    ]
    assert with_cents("1,234") == "1,234.00"


def test_another_answer_is_another_also_behind_a_name() -> None:
    assert with_others(["5", "x=5", "6"]) == [("5", "6"), ("x=5", "6"), ("6", "5")]


def test_misses_and_wrong_answers_that_pass_are_lines() -> None:
    assert judge_answers("gsm8k", [("72", "71")]) == (0, [], [])
    _, missed, _ = judge_answers("gsm8k", [("\\text{no number}", "71")])
    assert missed[0].startswith("missed   gsm8k | \\text{no number} | in ")
    assert judge_answers("gsm8k", [("72", "72.0")])[2] == ["fooled   gsm8k | 72 | by 72.0"]


def test_each_kind_of_error_is_put_in_by_itself() -> None:
    programs = changed("def f(x):\n    if x < 1:\n        return 1\n    return x * f(x - 1)")

    assert len(programs) == len(set(programs)) == 6
    assert "return [x * f(x - 1), 'another']" in programs[0]
    assert "return [1, 'another']" in programs[1]
    for program in programs:
        ast.parse(program)
    assert changed("pass") == []


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("math500", "rightRatio", 0.99),
        ("gsm8k", "fooled", 1),
        ("humaneval", "passed", 163),
        ("mbpp", "problemsWithAChangeNoticed", 499),
    ],
)
def test_one_bad_figure_is_enough(part: str, key: str, value: float) -> None:
    report = {
        "math500": {"rightRatio": 1.0, "fooled": 0},
        "gsm8k": {"rightRatio": 0.995, "fooled": 0},
        "humaneval": {"problems": 164, "passed": 164, "problemsWithAChangeNoticed": 164},
        "mbpp": {"problems": 500, "passed": 500, "problemsWithAChangeNoticed": 500},
    }
    assert is_well(report)

    report[part][key] = value
    assert not is_well(report)
