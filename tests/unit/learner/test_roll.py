"""Who is named when a collective has timed out."""

import threading

import pytest
import torch.distributed as dist

from rlvr_trainer.learner.roll import absent, naming


class Kept:
    """The roll, on which some ranks have signed."""

    def __init__(self, *signed: int) -> None:
        self._lines = {f"roll/{rank}" for rank in signed}

    def set(self, key: str, _value: str) -> None:
        self._lines.add(key)

    def check(self, keys: list[str]) -> bool:
        return self._lines.issuperset(keys)


class Silent:
    """Kept by a process that is stopped: no question is ever answered."""

    def set(self, key: str, value: str) -> None: ...

    def check(self, _keys: list[str]) -> bool:
        return threading.Event().wait()


class Gone:
    """Kept by a process that is no more."""

    def set(self, key: str, value: str) -> None: ...

    def check(self, _keys: list[str]) -> bool:
        raise dist.DistNetworkError("Broken pipe")


def test_ranks_that_have_not_signed_in_time_are_absent() -> None:
    assert absent(Kept(0, 3), rank=1, size=5, seconds=0.3) == (2, 4)


def test_when_all_have_signed_nobody_is_absent_and_nobody_waits() -> None:
    assert absent(Kept(0, 1), rank=2, size=3, seconds=60) == ()


def test_a_rank_that_signs_late_is_not_absent() -> None:
    roll = Kept(0)
    threading.Timer(0.2, roll.set, ("roll/2", "")).start()

    assert absent(roll, rank=1, size=3, seconds=60) == ()


@pytest.mark.parametrize("roll", [Silent(), Gone()], ids=["stopped", "ended"])
def test_where_rank_0_does_not_answer_it_is_the_one_that_is_named(roll: Silent | Gone) -> None:
    assert absent(roll, rank=1, size=3, seconds=0.3) == (0,)


def test_a_rank_is_named_with_its_node() -> None:
    assert naming((1, 3), ("a", "a", "b", "c")) == "rank 1 on node a, rank 3 on node c"
