"""What kopf is told: it never gives up, keeps no state, and hands bodies on."""

import asyncio
import itertools

import pytest

from rlvr_operator.app import Forgetful, Patience, Running
from rlvr_operator.cluster.resources import Raw


class Jobs:
    def put(self, raw: Raw) -> None: ...
    def remove(self, raw: Raw) -> None: ...


class Process:
    """Runs until it is told to end or breaks; remembers that it was stopped properly."""

    def __init__(self, error: Exception | None = None) -> None:
        self.jobs = Jobs()
        self.was_stopped = False
        self._error = error

    async def run(self) -> None:
        if self._error is not None:
            raise self._error
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            self.was_stopped = True


def test_pauses_grow_to_the_ceiling_and_never_end() -> None:
    assert list(itertools.islice(Patience(5.0), 6)) == [0.5, 1.0, 2.0, 5.0, 5.0, 5.0]
    assert list(itertools.islice(Patience(1.0), 3)) == [0.5, 1.0, 1.0]
    assert not hasattr(Patience(5.0), "__len__"), "kopf would count the attempts"


def test_no_former_state_is_kept() -> None:
    storage = Forgetful()

    assert storage.build(body={"spec": {"a": 1}}) == {}
    assert storage.fetch(body={}) is None


async def test_the_end_waits_for_the_process_so_that_it_can_release_its_lease() -> None:
    process, stop = Process(), asyncio.Event()
    running = Running(process, stop)
    await running.start()
    await asyncio.sleep(0)
    await running.stop()

    assert process.was_stopped
    running.raise_early_end()


async def test_a_process_that_breaks_stops_kopf_and_its_error_is_raised() -> None:
    stop = asyncio.Event()
    running = Running(Process(ZeroDivisionError("surprise")), stop)
    await running.start()
    await asyncio.wait_for(stop.wait(), 1.0)
    await running.stop()

    with pytest.raises(ZeroDivisionError):
        running.raise_early_end()
