"""When a policy is examined, and how it is marked."""

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_scored_group
from rlvr_trainer.coordinator.evaluation import is_due, mark, pass_at
from rlvr_trainer.samples import Outcome

C, W, E = Outcome.CORRECT, Outcome.WRONG, Outcome.ERROR


@pytest.mark.parametrize(
    ("step", "every", "done", "expected"),
    [
        (0, 0, (), True),  # the base
        (0, 0, (0,), False),  # once
        (7, 0, (0,), False),
        (10, 0, (0,), True),  # the last
        (10, 0, (0, 10), False),
        (4, 4, (0,), True),
        (5, 4, (0, 4), False),
        (5, 4, (0,), True),  # policy 4 was skipped
        (8, 4, (0, 5), True),
        (3, 4, (), False),  # resumed without an evaluation of the base: too late for that
    ],
)
def test_when_an_evaluation_is_due(step: int, every: int, done: tuple[int, ...], expected: bool) -> None:  # noqa: FBT001
    assert is_due(step, every=every, last_step=10, done=done) is expected


def test_errors_are_counted_apart_from_accuracy() -> None:
    evaluation = mark([a_scored_group(outcomes=(C, C, W)), a_scored_group(1, outcomes=(C, E, E))], step=7)

    assert evaluation is not None
    assert (evaluation.accuracy, evaluation.num_completions, evaluation.num_errors) == (0.75, 4, 2)
    assert (evaluation.step, evaluation.mean_tokens) == (7, 2.0)
    assert [(t.question, t.expected, t.outcome) for t in evaluation.transcripts] == [("1+1=", "2", C), ("1+1=", "2", C)]


def test_accuracy_is_unknown_when_nothing_could_be_judged() -> None:
    assert mark([a_scored_group(outcomes=(E, E))], step=0) is None


def test_sixteen_transcripts_are_kept() -> None:
    evaluation = mark([a_scored_group(n) for n in range(40)], step=0)

    assert evaluation is not None
    assert len(evaluation.transcripts) == 16


def test_pass_at_k_is_the_mean_over_prompts() -> None:
    """One of four right: a pair has it with chance 1/2, all four surely.  None of four: never."""
    answers = [a_scored_group(outcomes=(C, W, W, W)), a_scored_group(1, outcomes=(W, W, W, W))]

    assert pass_at(answers) == pytest.approx({2: 0.25, 4: 0.5})


def test_pass_at_goes_as_far_as_every_prompt_has_verdicts() -> None:
    answers = [a_scored_group(outcomes=(C, W, W, W)), a_scored_group(1, outcomes=(C, W, W, E))]

    assert pass_at(answers) == pytest.approx({2: (1 / 2 + 2 / 3) / 2, 3: (3 / 4 + 1) / 2})


def test_a_prompt_without_a_verdict_has_no_part_in_pass_at() -> None:
    assert pass_at([a_scored_group(outcomes=(C, W)), a_scored_group(1, outcomes=(E, E))]) == {2: 1.0}


def test_one_completion_a_prompt_has_no_pass_at() -> None:
    assert pass_at([a_scored_group(outcomes=(C,))]) == pass_at([]) == {}


@given(st.lists(st.lists(st.sampled_from((C, W, E)), min_size=1, max_size=9), min_size=1, max_size=6))
def test_pass_at_grows_with_k_and_is_at_least_the_mean_accuracy_of_prompts(outcomes: list[list[Outcome]]) -> None:
    answers = [a_scored_group(number, outcomes=tuple(one)) for number, one in enumerate(outcomes)]
    judged = [answer for answer in answers if answer.num_judged]

    found = [value for _, value in sorted(pass_at(answers).items())]

    assert found == pytest.approx(sorted(found))
    assert all(value <= 1 + 1e-9 for value in found)
    if found:
        assert found[0] >= fmean(answer.num_correct / answer.num_judged for answer in judged) - 1e-9
