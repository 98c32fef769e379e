import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from learning import a_backend
from rlvr_api import CheckpointProgress
from rlvr_trainer.errors import Unavailable
from rlvr_trainer.learner.exchange import Exchange
from rlvr_trainer.learner.keeper import Keeper, following
from rlvr_trainer.learner.state import Boundary, load_boundary
from rlvr_trainer.learner.stopping import Stop
from rlvr_trainer.metrics import Board
from rlvr_trainer.samples import CoordinatorState, StepReport
from rlvr_trainer.storage.checkpoints import Checkpoints
from rlvr_trainer.storage.store import Store
from rlvr_trainer.storage.uploader import Uploader
from storing import WatchedStore, a_memory_store, an_origin


def a_boundary(step: int) -> Boundary:
    reports = tuple(
        StepReport(step=k, metrics={"rlvr_learner_loss": k / 10}, trained=((k, k + 1),), finished_at=float(k))
        for k in range(1, step + 1)
    )
    return Boundary(step=step, state=CoordinatorState(generated_tokens=step * 100), history=reports)


@contextmanager
def a_keeper(model: Path, folder: Path, store: Store, *, every: int) -> Iterator[tuple[Keeper, Uploader]]:
    uploader = Uploader(
        Checkpoints(store, keep=3), staging=folder / "staging", origin=an_origin(), board=Board(), resumed=None
    )
    yield Keeper(uploader, a_backend(model), every=every, resumed=Boundary()), uploader
    uploader.close(timeout=0.1)


def steps_in(store: Store) -> list[int]:
    return [stored.step for stored in Checkpoints(store, keep=3).stored() if stored.is_complete]


def test_every_so_many_steps_and_the_last_are_saved(model_folder: Path, tmp_path: Path) -> None:
    store = a_memory_store()
    with a_keeper(model_folder, tmp_path, store, every=2) as (keeper, _):
        for step in (1, 2, 3):
            keeper.keep(a_boundary(step))
        keeper.finish()

    assert steps_in(store) == [2, 3]


def test_a_step_that_is_saved_is_not_saved_again_at_the_end(model_folder: Path, tmp_path: Path) -> None:
    store = a_memory_store()
    with a_keeper(model_folder, tmp_path, store, every=2) as (keeper, uploader):
        keeper.keep(a_boundary(2))
        uploader.drain()
        saved_at = keeper.progress.saved_at
        keeper.finish()

        assert keeper.progress.saved_at == saved_at


def test_what_is_saved_is_what_was_known_at_the_boundary(model_folder: Path, tmp_path: Path) -> None:
    store = a_memory_store()
    with a_keeper(model_folder, tmp_path, store, every=2) as (keeper, _):
        keeper.keep(a_boundary(2))
        keeper.finish()
    Checkpoints(store, keep=3).restore(tmp_path / "restored", accept=lambda _: True)

    assert load_boundary(tmp_path / "restored", a_backend(model_folder), step=2) == a_boundary(2)


def refuse(_number: int, _method: str, _key: str) -> None:
    raise Unavailable("the store is away")


def test_a_store_that_stays_away_ends_the_wait_when_time_is_up(model_folder: Path, tmp_path: Path) -> None:
    with a_keeper(model_folder, tmp_path, WatchedStore(a_memory_store(), refuse), every=2) as (keeper, uploader):
        keeper.keep(a_boundary(1))
        uploader.expire(0.3)
        with pytest.raises(Unavailable, match="the store is away"):
            keeper.finish()


def test_the_coordinator_is_told_what_the_store_says(model_folder: Path, tmp_path: Path) -> None:
    exchange = Exchange(tmp_path / "a000", stop=Stop())

    def told() -> CheckpointProgress:
        return CheckpointProgress.model_validate_json((tmp_path / "a000" / "checkpoint.json").read_bytes())

    store = WatchedStore(a_memory_store(), refuse)
    with a_keeper(model_folder, tmp_path, store, every=1) as (keeper, _), following(keeper, exchange):
        keeper.keep(a_boundary(1))
        until(lambda: (tmp_path / "a000" / "checkpoint.json").exists() and told().last_error is not None)

    assert told().step is None and "the store is away" in str(told().last_error)


def until(question: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not question():
        assert time.monotonic() < ends
        time.sleep(0.01)
