import pytest

from one_machine_builders import a_progress
from rlvr_api import CheckpointProgress
from rlvr_trainer.one_machine.words import changes, checkpoint_line, clock, duration, figure, step_line


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 m 00 s"), (185, "3 m 05 s"), (3600, "1 h 00 m"), (7650, "2 h 07 m")],
)
def test_a_duration_has_two_units_at_most(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_the_clock_counts_from_the_start() -> None:
    assert [clock(seconds) for seconds in (0, 42, 600, 3723)] == ["0:00", "0:42", "10:00", "1:02:03"]


def test_an_unknown_figure_is_not_zero() -> None:
    assert [figure(None), figure(0.0), figure(12345.678, 0)] == ["-", "0.000", "12,346"]


def test_a_step_is_one_line() -> None:
    assert step_line(a_progress(step=7)) == (
        "step 7/60  reward 0.250  accuracy 0.625  length 31.5  entropy 0.120  5,461 tokens/s  policy 7-3fa2c1d09b7e"
        "  1 m 30 s left"
    )


def test_the_last_step_has_no_time_left() -> None:
    assert not step_line(a_progress(step=60)).endswith("left")


def test_nothing_changed_is_nothing_said() -> None:
    progress = a_progress(step=7, checkpoint=CheckpointProgress(step=5))

    assert list(changes(progress, progress, known_checkpoint=5)) == []


def test_an_evaluation_and_a_checkpoint_are_said_once() -> None:
    before = a_progress(step=9)
    after = a_progress(step=10, eval_step=10, eval_accuracy=0.5, checkpoint=CheckpointProgress(step=10))

    assert list(changes(before, after, known_checkpoint=5)) == [
        "held-out accuracy 0.500 at step 10",
        "checkpoint of step 10 is complete",
    ]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (CheckpointProgress(), CheckpointProgress(last_error="500"), ["checkpoint store: 500"]),
        (CheckpointProgress(last_error="500"), CheckpointProgress(), ["checkpoint store: reachable again"]),
        (CheckpointProgress(), CheckpointProgress(is_waiting=True), ["training is waiting for the checkpoint store"]),
    ],
)
def test_trouble_with_the_store_is_said_when_it_starts_and_when_it_ends(
    before: CheckpointProgress, after: CheckpointProgress, said: list[str]
) -> None:
    assert list(changes(a_progress(checkpoint=before), a_progress(checkpoint=after), known_checkpoint=None)) == said


def test_a_resumed_run_does_not_tell_the_checkpoint_it_came_from() -> None:
    first = a_progress(step=20, checkpoint=CheckpointProgress(step=20))

    assert list(changes(None, first, known_checkpoint=20)) == []
    assert list(changes(None, first, known_checkpoint=None)) == ["checkpoint of step 20 is complete"]


def test_the_checkpoint_line_tells_age_and_trouble() -> None:
    checkpoint = CheckpointProgress(step=20, saved_at=1000.0, is_waiting=True, last_error="500 from s3://b")

    assert checkpoint_line(CheckpointProgress(), now=0.0) == "none yet"
    assert checkpoint_line(checkpoint, now=1012.0) == (
        "step 20, 12 s ago; training waits for the store; store: 500 from s3://b"
    )
