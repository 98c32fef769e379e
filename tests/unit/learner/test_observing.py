import pytest

from rlvr_trainer.learner.observing import Occasions


@pytest.mark.parametrize(
    ("first_step", "evaluate_every", "expected"),
    [(1, 0, [1, 25]), (8, 0, [8, 25]), (1, 10, [1, 10, 20, 25]), (25, 10, [25])],
)
def test_single_tokens_are_shown_at_both_ends_of_an_attempt_and_when_the_policy_is_examined(
    first_step: int, evaluate_every: int, expected: list[int]
) -> None:
    occasions = Occasions(first_step=first_step, last_step=25, evaluate_every=evaluate_every)

    assert [step for step in range(first_step, 26) if occasions.magnifies(step)] == expected


def test_the_base_model_is_compared_with_every_ten_steps_and_at_the_end() -> None:
    occasions = Occasions(first_step=1, last_step=25, evaluate_every=0)

    assert [step for step in range(1, 26) if occasions.compares_with_base(step)] == [10, 20, 25]
