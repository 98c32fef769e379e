"""Keys wait once, belong to one worker, and come back later and later after failures."""

import asyncio

import pytest

from rlvr_operator.workqueue import WorkQueue, retry_delay
from runtime_fakes import Clock


def a_queue(clock: Clock, *, settle: float = 0.0) -> WorkQueue[str]:
    return WorkQueue(settle=settle, clock=clock, jitter=lambda: 1.0)


async def taken(queue: WorkQueue[str]) -> list[str]:
    """All keys that can be had now, given back at once."""
    keys = []
    while len(queue):
        key, _ = await queue.get()
        queue.done(key)
        keys.append(key)
    return keys


async def test_a_key_that_is_rung_for_thrice_is_looked_at_once() -> None:
    queue = a_queue(Clock())
    for key in ("a", "b", "a", "a"):
        queue.add(key)

    assert await taken(queue) == ["a", "b"]


async def test_two_workers_never_have_the_same_key() -> None:
    clock = Clock()
    queue = a_queue(clock)
    queue.add("a")
    first, _ = await queue.get()
    queue.add("a")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await queue.get()
    queue.done(first)
    assert (await queue.get())[0] == "a"


async def test_a_burst_of_events_after_a_look_is_one_look_when_the_dust_has_settled() -> None:
    clock = Clock()
    queue = a_queue(clock, settle=2.0)
    queue.add("a")
    assert await taken(queue) == ["a"]

    for _ in range(10):
        clock.turn(0.1)
        queue.add("a")
    assert len(queue) == 0
    clock.turn(1.0)
    assert await taken(queue) == ["a"]
    assert await taken(queue) == []


async def test_the_first_event_about_a_key_is_not_delayed() -> None:
    queue = a_queue(Clock(), settle=2.0)
    queue.add("a")

    assert len(queue) == 1


async def test_what_rang_during_the_look_is_looked_at_after_settling() -> None:
    clock = Clock()
    queue = a_queue(clock, settle=2.0)
    queue.add("a")
    await queue.get()
    queue.add("a")
    queue.done("a")

    clock.turn(1.9)
    assert len(queue) == 0
    clock.turn(0.2)
    assert await taken(queue) == ["a"]


async def test_an_appointment_is_kept_and_an_earlier_one_stands() -> None:
    clock = Clock()
    queue = a_queue(clock)
    queue.add_after("a", 10.0)
    queue.add_after("a", 60.0)

    assert len(queue) == 0
    clock.turn(10.0)
    assert await taken(queue) == ["a"]
    clock.turn(100.0)
    assert await taken(queue) == []


async def test_an_event_comes_before_a_later_appointment() -> None:
    queue = a_queue(Clock())
    queue.add_after("a", 10.0)
    queue.add("a")

    assert await taken(queue) == ["a"]


async def test_failures_are_tried_again_later_and_later_until_one_succeeds() -> None:
    clock = Clock()
    queue = a_queue(clock)
    waits = []
    for _ in range(3):
        queue.retry("a")
        began = clock.now
        while not len(queue):
            clock.turn(0.25)
        waits.append(clock.now - began)
        await taken(queue)

    queue.succeed("a")
    queue.retry("a")
    clock.turn(0.5)

    assert waits == [0.5, 1.0, 2.0]
    assert len(queue) == 1


async def test_a_passing_trouble_does_not_make_a_key_wait_longer_and_longer() -> None:
    clock = Clock()
    queue = a_queue(clock)
    for _ in range(20):
        queue.retry("a", ceiling=5.0)
        clock.turn(5.0)

        assert await taken(queue) == ["a"]


async def test_nothing_is_remembered_of_a_key_that_will_not_come_back() -> None:
    queue = a_queue(Clock())
    queue.add("a")
    key, _ = await queue.get()
    queue.forget(key)
    queue.done(key)

    remembered = (queue._due, queue._rung, queue._failures, queue._looked_at, queue._working)
    assert not any(remembered)


def test_the_back_off_doubles_from_half_a_second_and_never_exceeds_five_minutes() -> None:
    assert [retry_delay(failures) for failures in (1, 2, 3, 10, 11, 10_000)] == [0.5, 1.0, 2.0, 256.0, 300.0, 300.0]


async def test_a_forgotten_key_does_not_come_back() -> None:
    clock = Clock()
    queue = a_queue(clock)
    queue.add("a")
    queue.add_after("a", 1.0)
    queue.forget("a")
    clock.turn(2.0)

    assert len(queue) == 0


async def test_how_long_a_key_waited_counts_from_the_first_ring() -> None:
    clock = Clock()
    queue = a_queue(clock)
    queue.add("a")
    clock.turn(3.0)
    queue.add("a")
    clock.turn(1.0)

    assert await queue.get() == ("a", 4.0)


async def test_a_waiting_worker_wakes_when_a_key_comes() -> None:
    queue: WorkQueue[str] = WorkQueue()
    waiting = asyncio.ensure_future(queue.get())
    await asyncio.sleep(0)
    queue.add("a")

    assert (await asyncio.wait_for(waiting, 1.0))[0] == "a"
