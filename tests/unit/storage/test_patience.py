import pytest

from rlvr_trainer.errors import InvalidInput, TrainerError, Unavailable
from rlvr_trainer.storage.patience import persist, retry_delay


def test_pauses_double_up_to_half_a_minute() -> None:
    assert [retry_delay(n) for n in (1, 2, 3, 6, 7, 8, 10_000)] == [0.5, 1, 2, 16, 30, 30, 30]


def test_it_tries_until_it_works_and_tells_each_time() -> None:
    outcomes: list[TrainerError | str] = [Unavailable("first"), Unavailable("second"), "done"]
    told: list[TrainerError] = []
    pauses: list[float] = []

    def work() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, TrainerError):
            raise outcome
        return outcome

    assert persist(work, on_error=told.append, pause=pauses.append) == "done"
    assert [str(error) for error in told] == ["first", "second"]
    assert pauses == [0.5, 1.0]


def test_what_is_not_to_be_repeated_is_raised_at_once() -> None:
    def work() -> None:
        raise InvalidInput("no such bucket")

    with pytest.raises(InvalidInput):
        persist(work, on_error=lambda _: None, pause=lambda _: None)
