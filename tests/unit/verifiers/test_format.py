import pytest

from rlvr_api.reward import FormatVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Finish, Outcome, Task
from rlvr_trainer.verifiers.composition import grade
from rlvr_trainer.verifiers.format import make

PATTERN = "<think>.*</think>\\s*<answer>.*</answer>"
verify = make(FormatVerifier(pattern=PATTERN))


def test_a_completion_that_matches_from_beginning_to_end_is_correct() -> None:
    assert verify(Task(), "<think>a\nb</think>\n<answer>7</answer>").outcome is Outcome.CORRECT


@pytest.mark.parametrize(
    "text", ["<answer>7</answer>", "well: <think></think><answer>7</answer>", "<think></think><answer>7</answer> done"]
)
def test_anything_before_after_or_missing_is_malformed_and_shown(text: str) -> None:
    verdict = verify(Task(), text)

    assert (verdict.outcome, verdict.score) == (Outcome.MALFORMED, 0.0)
    assert verdict.reason == f"{text!r} does not match {PATTERN!r}"


def test_a_completion_that_was_cut_off_is_truncated() -> None:
    assert grade(verify(Task(), "<think>and so"), finish=Finish.LENGTH).outcome is Outcome.TRUNCATED


def test_a_pattern_that_is_none_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidInput, match=r"format\.pattern '\(#' is not a regular expression: .* at position"):
        make(FormatVerifier(pattern="(#"))
