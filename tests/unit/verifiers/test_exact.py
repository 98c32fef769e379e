import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_api.reward import ExactVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Outcome, Task
from rlvr_trainer.verifiers import exact


@pytest.mark.parametrize(
    ("spec", "text", "outcome"),
    [
        (ExactVerifier(answer_after="#"), "4-8=-4;#-4", Outcome.CORRECT),
        (ExactVerifier(answer_after="#"), "#7;#-4", Outcome.CORRECT),
        (ExactVerifier(answer_after="#"), "#-4;#7", Outcome.WRONG),
        (ExactVerifier(answer_after="#"), "# -4 \n", Outcome.CORRECT),
        (ExactVerifier(answer_after="#", strip=False), "# -4", Outcome.WRONG),
        (ExactVerifier(answer_after="#"), "-4", Outcome.MALFORMED),
        (ExactVerifier(answer_after="#"), "", Outcome.MALFORMED),
        (ExactVerifier(answer_after="#"), "#", Outcome.WRONG),
        (ExactVerifier(answer_after="#### "), "so\n#### -4", Outcome.CORRECT),
        (ExactVerifier(), " -4", Outcome.CORRECT),
        (ExactVerifier(), "-4.0", Outcome.WRONG),
    ],
)
def test_the_answer_is_what_follows_the_last_marker(spec: ExactVerifier, text: str, outcome: Outcome) -> None:
    verdict = exact.make(spec)(Task(answer="-4"), text)

    assert verdict.outcome is outcome
    assert verdict.score == (1.0 if outcome is Outcome.CORRECT else 0.0)


def test_capitals_matter_unless_told_otherwise() -> None:
    task = Task(answer="Paris")

    assert exact.make(ExactVerifier())(task, "PARIS").outcome is Outcome.WRONG
    assert exact.make(ExactVerifier(ignore_case=True))(task, "PARIS").outcome is Outcome.CORRECT


def test_a_wrong_answer_is_shown_beside_the_right_one() -> None:
    verdict = exact.make(ExactVerifier(answer_after="#"))(Task(answer="-4"), "#" + "9" * 1000)

    assert "is not '-4'" in verdict.reason
    assert len(verdict.reason) < 100


def test_without_a_reference_there_is_nothing_to_compare() -> None:
    with pytest.raises(InvalidInput, match="no reference answer"):
        exact.make(ExactVerifier())(Task(answer=None, source="puzzles"), "7")


@given(st.text(), st.text(min_size=1))
def test_the_answer_never_holds_the_marker(text: str, marker: str) -> None:
    answer = exact.answer_after(text, marker=marker)

    assert (answer is None) == (marker not in text)
    assert answer is None or text.endswith(marker + answer)
