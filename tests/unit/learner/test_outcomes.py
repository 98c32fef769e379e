"""What a step's facts say by themselves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from learning import a_completion, a_scored_group, facts_of, random_facts
from rlvr_trainer.learner.outcomes import of_facts, repetition_ratios, tokens_of
from rlvr_trainer.samples import (
    CoordinatorState,
    Dropped,
    Fate,
    Finish,
    Monitoring,
    Outcome,
    ScoredGroup,
    StepFacts,
)

CORRECT, WRONG, MALFORMED, TRUNCATED = Outcome.CORRECT, Outcome.WRONG, Outcome.MALFORMED, Outcome.TRUNCATED


def a_group(position: int, *answers: tuple[int, Outcome]) -> ScoredGroup:
    """A completion of the given length for each answer."""
    completions = [
        a_completion([7] * length, finish=Finish.LENGTH if outcome is TRUNCATED else Finish.STOP)
        for length, outcome in answers
    ]
    return a_scored_group(position, completions, [outcome for _, outcome in answers])


def two_groups() -> StepFacts:
    """An easy group (2 of 3 right) and a hard one (none of 3)."""
    easy = a_group(0, (2, CORRECT), (4, CORRECT), (9, WRONG))
    hard = a_group(1, (10, TRUNCATED), (5, MALFORMED), (6, WRONG))
    return facts_of(1, [easy, hard])


def with_targets(facts: StepFacts, **targets: int) -> StepFacts:
    monitoring = Monitoring(
        step=0, length_targets=targets, num_prompts={}, accuracy=None, mean_tokens=None, num_errors=0
    )
    return replace(facts, state=CoordinatorState(monitoring=monitoring))


def found_in(facts: StepFacts) -> dict[str, float]:
    return {key.removeprefix("rlvr_learner_"): value for key, value in of_facts(facts)}


def test_lengths_are_told_by_correctness_and_by_difficulty() -> None:
    found = found_in(two_groups())

    assert found["completion_tokens_mean"] == 6 and found["completion_tokens_max"] == 10
    assert found['completion_tokens_by_outcome_mean{correct="yes"}'] == 3
    assert found['completion_tokens_by_outcome_mean{correct="no"}'] == 7.5
    assert found['completion_tokens_by_difficulty_mean{difficulty="easy"}'] == 5
    assert found['completion_tokens_by_difficulty_mean{difficulty="hard"}'] == 7
    assert found['accuracy_by_difficulty_ratio{difficulty="easy"}'] == pytest.approx(2 / 3)


def test_an_empty_bucket_has_a_share_but_no_length_and_no_accuracy() -> None:
    found = found_in(two_groups())

    assert found['groups_by_difficulty_ratio{difficulty="medium"}'] == 0
    assert 'completion_tokens_by_difficulty_mean{difficulty="medium"}' not in found
    assert 'accuracy_by_difficulty_ratio{difficulty="medium"}' not in found


def test_what_was_cut_off_and_what_could_not_be_read_are_counted_apart() -> None:
    found = found_in(two_groups())

    assert found["truncated_ratio"] == found["malformed_ratio"] == pytest.approx(1 / 6)


def test_groups_are_counted_by_correct_completions_with_those_that_were_dropped_flat() -> None:
    dropped = (
        Dropped(position=7, fate=Fate.FLAT, num_correct=3, num_judged=3),
        Dropped(position=8, fate=Fate.ERROR, num_correct=3, num_judged=3),
    )

    found = found_in(replace(two_groups(), dropped=dropped))

    assert [found[f'groups_by_correct{{correct="{n}"}}'] for n in range(4)] == [1, 0, 1, 1]
    assert [found[f'groups_solved_ratio{{solved="{word}"}}'] for word in ("none", "some", "all")] == [
        pytest.approx(1 / 3)
    ] * 3


def test_without_length_targets_nothing_is_said_of_them() -> None:
    assert not [key for key in found_in(two_groups()) if "target" in key]


def test_completions_within_the_target_of_their_difficulty_are_told_by_correctness() -> None:
    """Easy: 2 and 4 right, 9 wrong, target 4.  Hard: 10, 5, 6 wrong, target 6."""
    found = found_in(with_targets(two_groups(), easy=4, medium=5, hard=6))

    assert found['length_target_tokens{difficulty="easy"}'] == 4
    assert found['within_target_ratio{correct="yes"}'] == 1
    assert found['within_target_ratio{correct="no"}'] == 0.5


def test_a_gram_that_comes_again_is_repetition() -> None:
    """1 2 3 1 2 3 1: bigrams 12 23 31 12 23 31, three of six are repeated."""
    loop, plain, short = a_completion([1, 2, 3, 1, 2, 3, 1]), a_completion([1, 2, 3, 4]), a_completion([5])

    assert repetition_ratios([plain, loop, short], size=2).tolist() == [0, 0.5]


def test_completions_shorter_than_a_gram_say_nothing_about_repetition() -> None:
    assert "repetition_ratio" not in found_in(two_groups())
    assert found_in(facts_of(1, [a_group(0, (40, WRONG), (25, CORRECT))]))["repetition_ratio"] == pytest.approx(
        (20 / 21 + 5 / 6) / 2
    )


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=15), min_size=1, max_size=6),
    st.integers(1, 4),
)
def test_repetition_is_what_counting_says(rows: list[list[int]], size: int) -> None:
    def counted(row: list[int]) -> float:
        grams = [tuple(row[start : start + size]) for start in range(len(row) - size + 1)]
        return 1 - len(set(grams)) / len(grams)

    expected = [counted(row) for row in rows if len(row) >= size]

    assert repetition_ratios([a_completion(row) for row in rows], size=size).tolist() == pytest.approx(expected)


def test_tokens_are_those_of_all_completions_in_order() -> None:
    facts = random_facts(3)
    rows = [one.token_ids for scored in facts.groups for one in scored.group.completions]

    assert np.array_equal(tokens_of(facts), np.concatenate(rows))
