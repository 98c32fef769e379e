"""When a policy is examined, and how it is marked."""

import pytest

from builders import a_scored_group
from rlvr_trainer.coordinator.evaluation import is_due, mark
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
