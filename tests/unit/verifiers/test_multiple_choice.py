import pytest

from rlvr_api.reward import MultipleChoiceVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Outcome, Task
from rlvr_trainer.verifiers.multiple_choice import make, named_letter

verify = make(MultipleChoiceVerifier())


@pytest.mark.parametrize(
    "text",
    [
        "\\boxed{C}",
        "\\boxed{\\text{(C)}}",
        "\\boxed{C. Paris}",
        "The answer is C.",
        "The answer is (c)",
        "**Answer: C**",
        "Answer: option C",
        "the correct choice is C because it fits",
        "A looks right, but the answer is C, not A.",
        "The answer is B.  Wait.  The answer is C.",
        "I think\nC",
        "so it must be\n(C)",
        "so it must be\nc.",
    ],
)
def test_the_right_letter_is_correct_where_it_is_given_as_the_answer(text: str) -> None:
    assert verify(Task(answer="C"), text).outcome is Outcome.CORRECT


@pytest.mark.parametrize("text", ["\\boxed{B}", "The answer is B.", "B", "\\boxed{C} no \\boxed{B}"])
def test_another_letter_is_wrong_and_named(text: str) -> None:
    verdict = verify(Task(answer="C"), text)

    assert (verdict.outcome, verdict.reason) == (Outcome.WRONG, "B is not C")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I do not know.",
        "C is a letter that I like.",
        "The answer is C or D.",
        "\\boxed{C, D}",
        "\\boxed{E}",
        "The answer is Cairo",
        "The answer is A good question",
    ],
)
def test_prose_two_letters_and_letters_that_are_no_choice_are_malformed(text: str) -> None:
    assert verify(Task(answer="C"), text).outcome is Outcome.MALFORMED


def test_the_letters_are_the_specs() -> None:
    assert named_letter("The answer is E.", letters="ABCDE") == "E"
    assert named_letter("The answer is E.", letters="ABCD") is None


@pytest.mark.parametrize("answer", ["(c)", "C.", " C "])
def test_references_may_be_dressed(answer: str) -> None:
    assert verify(Task(answer=answer), "C").outcome is Outcome.CORRECT


@pytest.mark.parametrize("answer", [None, "", "E", "Paris", "AB"])
def test_a_reference_that_is_no_choice_is_the_judges_failure(answer: str | None) -> None:
    with pytest.raises(InvalidInput, match="is not one of the letters ABCD"):
        verify(Task(answer=answer), "C")
