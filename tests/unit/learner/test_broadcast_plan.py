"""Who takes part in a broadcast, and at which rank: numbers by hand, and laws."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.learner.broadcasting.plan import Circle, Member, Replica, circle_for, patience_within


def a_replica(number: int = 0, *, size: int = 1, is_ready: bool = True, circle: str | None = None) -> Replica:
    return Replica(url=f"http://r{number}", is_ready=is_ready, circle=circle, world_size=size)


def a_circle(replicas: list[Replica], *, name: str = "g0") -> Circle:
    circle = circle_for(replicas, known=None, name=name)
    assert circle is not None
    return circle


def joined(replicas: list[Replica], circle: Circle) -> list[Replica]:
    return [replace(replica, circle=circle.name) for replica in replicas]


def test_each_replica_counts_on_from_the_one_before_and_the_learner_is_rank_0() -> None:
    circle = a_circle([a_replica(0, size=2), a_replica(1, size=4), a_replica(2, size=1)])

    assert circle.members == (
        Member(url="http://r0", rank_offset=1, world_size=2),
        Member(url="http://r1", rank_offset=3, world_size=4),
        Member(url="http://r2", rank_offset=7, world_size=1),
    )
    assert circle.world_size == 8


@given(st.lists(st.integers(1, 8), min_size=1, max_size=12))
def test_every_rank_belongs_to_exactly_one_process(sizes: list[int]) -> None:
    circle = a_circle([a_replica(number, size=size) for number, size in enumerate(sizes)])

    ranks = [member.rank_offset + place for member in circle.members for place in range(member.world_size)]

    assert sorted([0, *ranks]) == list(range(circle.world_size))


@given(st.permutations(range(5)))
def test_the_order_in_which_replicas_answer_changes_nothing(order: list[int]) -> None:
    replicas = [a_replica(number, size=1 + number % 3) for number in range(5)]

    assert a_circle([replicas[number] for number in order]) == a_circle(replicas)


def test_nobody_who_is_ready_means_no_circle() -> None:
    known = a_circle([a_replica()])

    assert circle_for([], known=known, name="g1") is None
    assert circle_for([a_replica(is_ready=False)], known=known, name="g1") is None


def test_a_circle_that_still_fits_is_kept() -> None:
    replicas = [a_replica(0), a_replica(1, size=2)]
    known = a_circle(replicas)

    assert circle_for(joined(replicas, known), known=known, name="g1") is known


PAIR = [a_replica(0), a_replica(1)]
KNOWN = a_circle(PAIR)


@pytest.mark.parametrize(
    "replicas",
    [
        [*joined(PAIR, KNOWN), a_replica(2)],
        joined(PAIR, KNOWN)[:1],
        [*joined(PAIR, KNOWN)[:1], replace(PAIR[1], is_ready=False)],
        [*joined(PAIR, KNOWN)[:1], PAIR[1]],
        [*joined(PAIR, KNOWN)[:1], replace(PAIR[1], circle="another")],
        [*joined(PAIR, KNOWN)[:1], replace(PAIR[1], circle="g0", world_size=2)],
    ],
    ids=["one more", "one less", "one dirty", "one restarted", "one of another learner", "one of another size"],
)
def test_a_circle_that_does_not_fit_is_made_anew_of_whoever_is_ready(replicas: list[Replica]) -> None:
    circle = circle_for(replicas, known=KNOWN, name="g1")

    assert circle is not None
    assert circle.name == "g1"
    assert [member.url for member in circle.members] == [replica.url for replica in replicas if replica.is_ready]


@given(st.floats(1.0, 1e6))
def test_a_broadcast_with_all_it_waits_for_is_over_before_it_counts_as_a_hang(hang_seconds: float) -> None:
    patience = patience_within(hang_seconds)

    assert patience.look + patience.join + patience.wanted + patience.take <= hang_seconds / 2
