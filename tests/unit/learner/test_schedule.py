import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.learner.schedule import Schedule, learning_rate


def rates(schedule: Schedule, *, warmup_steps: int, num_steps: int) -> list[float]:
    return [
        learning_rate(step, peak=8.0, schedule=schedule, warmup_steps=warmup_steps, num_steps=num_steps)
        for step in range(1, num_steps + 1)
    ]


def test_a_constant_rate_rises_over_the_warm_up_and_stays() -> None:
    assert rates("constant", warmup_steps=4, num_steps=6) == [2.0, 4.0, 6.0, 8.0, 8.0, 8.0]


def test_a_linear_rate_falls_to_zero_one_step_after_the_last() -> None:
    assert rates("linear", warmup_steps=2, num_steps=6) == [4.0, 8.0, 8.0, 6.0, 4.0, 2.0]


def test_a_cosine_rate_is_half_way_down_in_the_middle() -> None:
    assert rates("cosine", warmup_steps=0, num_steps=4) == pytest.approx([8.0, 6.828427, 4.0, 1.171573])


def test_a_warm_up_longer_than_the_run_never_reaches_the_peak() -> None:
    assert rates("cosine", warmup_steps=8, num_steps=3) == [1.0, 2.0, 3.0]


@given(
    schedule=st.sampled_from(["constant", "linear", "cosine"]),
    warmup_steps=st.integers(0, 20),
    num_steps=st.integers(1, 50),
)
def test_every_step_has_a_positive_rate_of_at_most_the_peak(
    schedule: Schedule, warmup_steps: int, num_steps: int
) -> None:
    assert all(0 < rate <= 8 for rate in rates(schedule, warmup_steps=warmup_steps, num_steps=num_steps))
