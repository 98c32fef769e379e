"""When lengths are measured, and which targets follow from the answers."""

from collections.abc import Sequence

import pytest

from builders import a_completion, a_prompt, a_verdict
from rlvr_trainer.coordinator.monitor import Search, is_due, measure
from rlvr_trainer.samples import CoordinatorState, Group, Outcome, ScoredGroup
from rlvr_trainer.wire import from_json, to_json

C, W, E = Outcome.CORRECT, Outcome.WRONG, Outcome.ERROR


@pytest.mark.parametrize(
    ("step", "measured", "expected"),
    [
        (0, None, True),  # before training
        (0, 0, False),
        (19, 0, False),
        (20, 0, True),
        (21, 0, True),  # policy 20 was skipped
        (21, 20, False),
        (40, 21, True),
        (23, None, True),  # resumed without: nothing can be rewarded before
        (100, 80, False),  # nobody trains after the last step
    ],
)
def test_when_lengths_are_measured(step: int, measured: int | None, expected: bool) -> None:  # noqa: FBT001
    assert is_due(step, every=20, last_step=100, measured=measured) is expected


def a_search(*, group_size: int = 8, grid: Sequence[int] = (4, 8, 12, 16)) -> Search:
    return Search(grid=tuple(grid), longest=32, group_size=group_size, rounding="ceil")


def an_answer(outcomes: Sequence[Outcome], lengths: Sequence[int]) -> ScoredGroup:
    completions = tuple(a_completion([4] * length) for length in lengths)
    verdicts = tuple(a_verdict(outcome) for outcome in outcomes)
    return ScoredGroup(group=Group(prompt=a_prompt(), completions=completions), verdicts=verdicts)


EASY = an_answer([C, C, C, C, C, C, W, W], [3, 9, 9, 9, 9, 9, 9, 9])  # 6 of 8; one in eight within 4
MEDIUM = an_answer([C, C, C, W, W, W, W, W], [3, 5, 7, 9, 9, 9, 9, 9])  # 3 of 8; three in eight within 8
HARD = an_answer([C, W, W, W, W, W, W, W], [3, 3, 3, 3, 3, 3, 3, 15])


def test_targets_follow_from_the_answers_by_difficulty() -> None:
    found = measure([EASY, MEDIUM, HARD, HARD], search=a_search(), step=20)

    # Easy needs 6 correct: coverage 1/6, reached within 12.  Medium needs 3: coverage 1/3, within 8.  Hard needs all.
    assert found.length_targets == {"hard": 16, "medium": 8, "easy": 12}
    assert found.num_prompts == {"hard": 2, "medium": 1, "easy": 1}
    assert (found.step, found.num_errors, found.accuracy) == (20, 0, 11 / 32)
    assert found.mean_tokens == (66 + 60 + 2 * 36) / 32


def test_a_difficulty_without_prompts_and_one_that_no_candidate_covers_have_the_completion_limit() -> None:
    found = measure([HARD], search=a_search(grid=(4, 8)), step=0)

    assert found.length_targets == {"hard": 32, "medium": 32, "easy": 32}
    assert found.num_prompts == {"hard": 1, "medium": 0, "easy": 0}


def test_completions_that_could_not_be_judged_have_no_part_in_the_targets() -> None:
    broken = an_answer([C, C, C, C, C, C, E, E], [3, 3, 3, 3, 3, 3, 30, 30])

    found = measure([broken], search=a_search(), step=0)

    assert found.length_targets["easy"] == 4
    assert (found.num_errors, found.accuracy, found.mean_tokens) == (2, 1.0, 3.0)


def test_a_judge_that_fails_on_everything_sets_no_target_and_no_accuracy(caplog: pytest.LogCaptureFixture) -> None:
    found = measure([an_answer([E, E], [3, 3])], search=a_search(group_size=2), step=0)

    assert set(found.length_targets.values()) == {32}
    assert (found.accuracy, found.mean_tokens, found.num_errors) == (None, None, 2)
    assert sum(found.num_prompts.values()) == 0
    assert "set no targets" in caplog.text


def test_targets_survive_their_journey_through_a_checkpoint() -> None:
    state = CoordinatorState(monitoring=measure([EASY, MEDIUM], search=a_search(), step=40))

    assert from_json(to_json(state), CoordinatorState) == state
    assert state.length_targets == {"hard": 32, "medium": 8, "easy": 12}
    assert CoordinatorState().length_targets == {}
