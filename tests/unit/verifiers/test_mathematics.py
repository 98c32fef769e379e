import pytest

from rlvr_api.reward import MathVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Outcome, Task
from rlvr_trainer.verifiers import mathematics
from rlvr_trainer.verifiers.verdicts import Verifier


@pytest.fixture(scope="module")
def verify() -> Verifier:
    return mathematics.make(MathVerifier())


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("72", "so \\boxed{72}"),
        ("72", "Natalia sold 72 clips.\n#### 72"),
        ("72", "\\boxed{\\$72}"),
        ("72", "The answer is 72 dollars."),
        ("5\\text{ cm}", "\\boxed{5}"),
        ("1/2", "\\boxed{0.5}"),
        ("\\frac{1}{2}", "half, that is $\\frac{2}{4}$"),
        ("1,000", "\\boxed{1000}"),
        ("0.5", "\\boxed{50\\%}"),
        ("50\\%", "The answer is 0.5"),
        ("0.5", "The answer is 50\\%."),
        ("(3, \\frac{\\pi}{2})", "\\boxed{\\left(3, \\frac{\\pi}{2}\\right)}"),
        ("[2,5)", "\\boxed{[2,5)}"),
        ("90^\\circ", "\\boxed{90}"),
        ("x=5", "\\boxed{5}"),
        ("\\text{Evelyn}", "\\boxed{\\text{Evelyn}}"),
        ("72", "first \\boxed{7}, no: \\boxed{72}"),
    ],
)
def test_equal_mathematics_is_correct(verify: Verifier, reference: str, text: str) -> None:
    assert verify(Task(answer=reference), text).outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("72", "\\boxed{71}"),
        ("72", "72 minus 5 is 67"),
        ("[2,5)", "\\boxed{[2,5]}"),
        ("72", "\\boxed{\\frac{1}{0}}"),
        ("(1,2)", "\\boxed{(2,1)}"),
        ("72", "and so\n#### 72i"),
        ("72", "and so\n#### x \\ge 72"),
        ("72", "and so\n#### 71, 72"),
    ],
)
def test_other_mathematics_is_wrong(verify: Verifier, reference: str, text: str) -> None:
    verdict = verify(Task(answer=reference), text)

    assert verdict.outcome is Outcome.WRONG
    assert f"is not {reference!r}" in verdict.reason


@pytest.mark.parametrize(
    "text",
    ["\\boxed{71 \\lor 72}", "#### 71 \\text{ or } 72", "The answer is 72 (or 71).", "The answer is $71 \\vee 72$"],
)
def test_a_choice_is_no_answer_where_one_number_is_wanted(verify: Verifier, text: str) -> None:
    verdict = verify(Task(answer="72"), text)

    assert verdict.outcome is Outcome.WRONG
    assert "offers a choice where '72' is wanted" in verdict.reason


@pytest.mark.parametrize("answer", ["(" * 300 + "1" + ")" * 300, "7" * 200_000, "\\sqrt{" * 500 + "2" + "}" * 500])
def test_what_no_answer_looks_like_is_malformed_without_algebra(verify: Verifier, answer: str) -> None:
    verdict = verify(Task(answer="72"), f"\\boxed{{{answer}}}")

    assert verdict.outcome is Outcome.MALFORMED
    assert "more than 2000 characters or is nested too deep" in verdict.reason


def test_only_the_end_of_a_long_text_is_searched(verify: Verifier) -> None:
    assert verify(Task(answer="72"), "and 7 " * 100_000 + "makes 72").outcome is Outcome.CORRECT


def test_words_and_choices_are_answers_too(verify: Verifier) -> None:
    assert verify(Task(answer="\\text{Evelyn}"), "The answer is Evelyn.").outcome is Outcome.CORRECT
    assert verify(Task(answer="\\text{Evelyn}"), "\\boxed{Bob}").outcome is Outcome.WRONG
    assert verify(Task(answer="\\text{Evelyn}"), "I do not know.").outcome is Outcome.MALFORMED
    assert verify(Task(answer="C"), "\\boxed{\\textbf{(C)}}").outcome is Outcome.CORRECT


@pytest.mark.parametrize("text", ["", "I do not know.", "\\boxed{}", "((((((", "\\frac{{{{", "\x00\ud83d"])
def test_what_is_no_mathematics_is_malformed(verify: Verifier, text: str) -> None:
    assert verify(Task(answer="72"), text).outcome is Outcome.MALFORMED


def test_a_reference_that_cannot_be_read_is_the_judges_failure(verify: Verifier) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        verify(Task(answer=""), "\\boxed{72}")
