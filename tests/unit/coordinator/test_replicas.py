"""Which replica is asked next."""

from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.coordinator.replicas import Replica, State, count_by_state, delay_before_look, least_loaded

READY = Replica(url="a", state=State.READY, label="3-abc")


def choose(*replicas: Replica, wanted: str = "3-abc") -> str | None:
    chosen = least_loaded(replicas, wanted=wanted, max_in_flight=16)
    return chosen.url if chosen else None


def test_the_least_loaded_replica_on_the_wanted_policy_is_chosen() -> None:
    busy, idle = READY.given(8), Replica(url="b", state=State.READY, label="3-abc").given(4)
    stranger = Replica(url="c", state=State.READY, label="2-def")

    assert choose(busy, idle, stranger) == "b"


def test_a_full_replica_gets_nothing_more() -> None:
    assert choose(READY.given(16)) is None
    assert choose(READY.given(16).relieved_of(8)) == "a"


def test_a_replica_that_answers_with_another_policy_is_updating() -> None:
    assert READY.answered("2-def", wanted="3-abc", is_ready=True).state is State.UPDATING
    assert READY.answered("3-abc", wanted="3-abc", is_ready=False).state is State.UPDATING
    assert READY.answered("3-abc", wanted="3-abc", is_ready=True).state is State.READY


def test_a_lost_replica_keeps_its_load_and_forgets_its_policy() -> None:
    lost = READY.given(4).lost()

    assert (lost.state, lost.label, lost.in_flight) == (State.LOST, None, 4)
    assert choose(lost) is None


def test_losses_in_a_row_make_the_coordinator_patient() -> None:
    def delay(replica: Replica) -> float:
        return delay_before_look(replica, first=0.2, ceiling=5.0)

    once = READY.lost()
    again = once.lost().answered(None, wanted="3-abc", is_ready=False).lost()

    assert (delay(READY), delay(once), delay(again)) == (0.2, 0.2, 0.4)
    assert delay(Replica(url="a", num_losses=9)) == 5.0
    assert again.answered("3-abc", wanted="3-abc", is_ready=True).num_losses == 0


def test_a_replica_ready_on_an_old_policy_counts_as_updating() -> None:
    assert count_by_state([READY, Replica(url="b")], wanted="4-fff") == {
        State.JOINING: 1,
        State.UPDATING: 1,
        State.READY: 0,
        State.LOST: 0,
    }


@given(st.lists(st.tuples(st.sampled_from(State), st.sampled_from(["x", "y"]), st.integers(0, 20)), max_size=8))
def test_work_only_goes_where_the_wanted_policy_is(table: list[tuple[State, str, int]]) -> None:
    replicas = [Replica(url=str(n), state=s, label=label, in_flight=load) for n, (s, label, load) in enumerate(table)]

    chosen = least_loaded(replicas, wanted="x", max_in_flight=16)

    able = [one for one in replicas if (one.state, one.label) == (State.READY, "x") and one.in_flight < 16]
    assert (chosen is None) == (not able)
    assert chosen is None or chosen.in_flight == min(one.in_flight for one in able)
