from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.reward.dealing import Waiting, chunk_size

QUICK = 0.008
SLOW = 3.0


def requests(*batches: Sequence[str], num_workers: int = 2) -> Waiting[str]:
    waiting = Waiting[str](num_workers=num_workers)
    for batch in batches:
        waiting.add(batch)
    return waiting


def test_fast_verifiers_get_many_items_at_once_and_slow_ones_get_one() -> None:
    assert chunk_size(1000, num_workers=2, mean_seconds=1e-5) == 64
    assert chunk_size(1000, num_workers=2, mean_seconds=0.004) == 5
    assert chunk_size(1000, num_workers=2, mean_seconds=3.0) == 1


def test_a_few_items_are_shared_out() -> None:
    assert chunk_size(7, num_workers=2, mean_seconds=1e-5) == 4


@given(st.integers(1, 10**6), st.integers(1, 256), st.floats(1e-7, 3600))
def test_a_chunk_is_never_empty_nor_more_than_there_is(waiting: int, num_workers: int, mean_seconds: float) -> None:
    assert 1 <= chunk_size(waiting, num_workers=num_workers, mean_seconds=mean_seconds) <= waiting


def test_a_request_stays_with_the_worker_that_began_it() -> None:
    waiting = requests(["a1", "a2", "a3", "a4"], ["b1", "b2", "b3", "b4"])

    hands = [waiting.take(worker, mean_seconds=QUICK) for worker in (1, 2, 1, 2)]

    assert hands == [["a1", "a2"], ["b1", "b2"], ["a3", "a4"], ["b3"]]


def test_a_worker_without_a_request_of_its_own_helps_with_another() -> None:
    waiting = requests(["a1", "a2", "a3", "a4"])

    hands = [waiting.take(worker, mean_seconds=QUICK) for worker in (1, 2)]

    assert hands == [["a1", "a2"], ["a3"]]


def test_slow_items_go_out_oldest_first_whoever_began_their_request() -> None:
    waiting = requests(["a1", "a2"], ["b1", "b2"])

    hands = [waiting.take(worker, mean_seconds=SLOW) for worker in (1, 2, 1, 2)]

    assert hands == [["a1"], ["a2"], ["b1"], ["b2"]]


def test_a_chunk_of_very_quick_items_goes_on_into_the_next_request() -> None:
    waiting = requests(["a1", "a2"], ["b1", "b2"], ["c1", "c2"])

    assert waiting.take(1, mean_seconds=1e-5) == ["a1", "a2", "b1"]
    assert waiting.take(2, mean_seconds=1e-5) == ["c1", "c2"]


def test_what_a_lost_worker_left_comes_first() -> None:
    waiting = requests(["a1", "a2", "a3"], ["b1", "b2", "b3"])
    (_judged, behind_it) = waiting.take(1, mean_seconds=QUICK)

    waiting.release(1)
    waiting.give_back([behind_it])

    assert [waiting.take(2, mean_seconds=SLOW) for _ in range(3)] == [["a2"], ["a3"], ["b1"]]


def test_nothing_waits_and_nothing_is_taken() -> None:
    assert requests([]).take(1, mean_seconds=QUICK) == []


@given(
    st.lists(st.integers(0, 9), max_size=8),
    st.lists(st.tuples(st.integers(1, 3), st.floats(1e-6, 10), st.sampled_from(["ends", "dies"])), max_size=40),
)
def test_every_item_is_dealt_exactly_once_however_workers_come_and_go(
    sizes: list[int], events: list[tuple[int, float, str]]
) -> None:
    expected = [f"{request}.{item}" for request, size in enumerate(sizes) for item in range(size)]
    waiting, dealt = Waiting[str](num_workers=3), list[str]()
    for request, size in enumerate(sizes):
        waiting.add([f"{request}.{item}" for item in range(size)])

    for worker, mean_seconds, how in events:
        chunk = waiting.take(worker, mean_seconds=mean_seconds)
        kept = chunk if how == "ends" else chunk[:1]
        dealt += kept
        if how == "dies":
            waiting.give_back(chunk[len(kept) :])
            waiting.release(worker)
    while chunk := waiting.take(1, mean_seconds=QUICK):
        dealt += chunk

    assert sorted(dealt) == sorted(expected) and len(waiting) == 0
