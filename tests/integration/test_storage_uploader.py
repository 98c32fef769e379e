"""The background uploader on a real thread, over stores that fail for a while."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rlvr_trainer.errors import InvalidInput, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.storage.checkpoints import Checkpoints, open_checkpoints
from rlvr_trainer.storage.store import Store
from rlvr_trainer.storage.uploader import Uploader, require_space
from small_disks import a_disk_of
from storing import WatchedStore, a_memory_store, an_origin, anything, failing, files_of


@contextmanager
def an_uploader(store: Store, staging: Path, *, keep: int = 3, board: Board | None = None) -> Iterator[Uploader]:
    uploader = Uploader(
        Checkpoints(store, keep=keep), staging=staging, origin=an_origin(), board=board or Board(), resumed=None
    )
    yield uploader
    uploader.close(timeout=5)


def hand_over(uploader: Uploader, step: int) -> None:
    folder = uploader.stage(step, num_bytes=1000)
    files_of(step, folder)
    uploader.submit(step, folder)


def eventually(condition: Callable[[], bool], *, seconds: float = 5) -> bool:
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        time.sleep(0.01)
    return condition()


def test_checkpoints_arrive_in_order_and_staged_copies_go(tmp_path: Path) -> None:
    store, board = a_memory_store(), Board()
    with an_uploader(store, tmp_path / "staging", keep=2, board=board) as uploader:
        for step in (10, 20, 30):
            hand_over(uploader, step)
        uploader.drain()

        assert [item.step for item in Checkpoints(store, keep=2).stored()] == [20, 30]
        assert uploader.status.step == 30
        assert uploader.status.uri == f"{store.uri}/step-000030"
        assert uploader.status.uploading is None
        assert list((tmp_path / "staging").iterdir()) == []
        assert b"rlvr_checkpoint_step 30.0" in board.render()


def test_an_outage_is_visible_and_passes(tmp_path: Path) -> None:
    store, board = a_memory_store(), Board()
    flaky = failing(store, [Unavailable("500 for a while"), InvalidInput("403 for a while")])
    with an_uploader(flaky, tmp_path / "staging", board=board) as uploader:
        hand_over(uploader, 10)

        assert eventually(lambda: uploader.status.last_error == "500 for a while")
        assert uploader.status.uploading == 10
        uploader.drain()
        assert uploader.status.last_error is None
        assert uploader.status.step == 10
        assert b"rlvr_checkpoint_errors_total 2.0" in board.render()


def test_training_goes_on_beside_one_upload_and_waits_before_the_next(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = a_memory_store()
    flaky = failing(store, [Unavailable("the store is away")] * 2)
    with an_uploader(flaky, tmp_path / "staging") as uploader, caplog.at_level(logging.WARNING):
        started = time.monotonic()
        hand_over(uploader, 10)
        beside = time.monotonic() - started
        hand_over(uploader, 20)
        waited = time.monotonic() - started

        assert beside < 0.3
        assert waited >= 1.5
        assert "waiting for the checkpoint of step 10: the store is away" in caplog.text


def test_nothing_is_lost_when_time_runs_out(tmp_path: Path) -> None:
    store = a_memory_store()
    flaky = failing(store, [Unavailable("the store is away")] * 1000)
    uploader = Uploader(
        Checkpoints(flaky, keep=3), staging=tmp_path / "staging", origin=an_origin(), board=Board(), resumed=None
    )
    hand_over(uploader, 10)

    started = time.monotonic()
    assert not uploader.close(timeout=0.3)

    assert time.monotonic() - started < 2
    assert (tmp_path / "staging" / "step-000010" / "model.safetensors").exists()
    assert Checkpoints(store, keep=3).newest(anything) is None


def test_a_waiting_trainer_can_be_told_to_stop_waiting(tmp_path: Path) -> None:
    flaky = failing(a_memory_store(), [Unavailable("the store is away")] * 1000)
    with an_uploader(flaky, tmp_path / "staging") as uploader:
        hand_over(uploader, 10)
        uploader.expire(0.2)

        with pytest.raises(Unavailable, match="the store is away"):
            uploader.drain()


def test_an_error_that_is_not_the_stores_reaches_the_trainer(tmp_path: Path) -> None:
    def broken(_number: int, _method: str, _key: str) -> None:
        raise ZeroDivisionError("a bug")

    uploader = Uploader(
        Checkpoints(WatchedStore(a_memory_store(), broken), keep=3),
        staging=tmp_path / "staging",
        origin=an_origin(),
        board=Board(),
        resumed=None,
    )
    hand_over(uploader, 10)

    with pytest.raises(ZeroDivisionError, match="a bug"):
        uploader.drain()


def test_what_an_earlier_attempt_wrote_is_the_first_status(tmp_path: Path) -> None:
    checkpoints = Checkpoints(a_memory_store(), keep=3)
    resumed = checkpoints.save(10, files_of(10, tmp_path / "files"), an_origin())
    uploader = Uploader(checkpoints, staging=tmp_path / "staging", origin=an_origin(), board=Board(), resumed=resumed)
    uploader.close(timeout=1)

    assert (uploader.status.step, uploader.status.uri, uploader.status.at) == (10, resumed.uri, None)


def test_staging_wants_room_for_two_copies(tmp_path: Path) -> None:
    require_space(tmp_path, 1)

    with pytest.raises(Unavailable, match="free space on that disk"):
        require_space(tmp_path, 10**18)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with a_disk_of(tmp_path / "small", size="256k") as folder:
        yield folder


def test_a_full_disk_is_waited_for_until_somebody_makes_room(small_disk: Path, tmp_path: Path) -> None:
    hog, checkpoints = small_disk / "hog", open_checkpoints(f"file://{small_disk}/kept", keep=3)
    hog.write_bytes(b"x" * 220 * 1024)
    with an_uploader(checkpoints.store, tmp_path / "staging") as uploader:
        folder = uploader.stage(10, num_bytes=100_000)
        (folder / "model.safetensors").write_bytes(b"y" * 100_000)
        uploader.submit(10, folder)
        assert eventually(lambda: "The store is full" in (uploader.status.last_error or ""))
        assert checkpoints.newest(anything) is None

        hog.unlink()
        uploader.drain()
        assert uploader.status.step == 10
    assert checkpoints.restore(tmp_path / "out", accept=anything) is not None


def test_training_waits_for_room_to_stage(small_disk: Path) -> None:
    hog = small_disk / "hog"
    hog.write_bytes(b"x" * 200 * 1024)
    with an_uploader(a_memory_store(), small_disk / "staging") as uploader:
        threading.Timer(0.3, hog.unlink).start()
        folder = uploader.stage(10, num_bytes=100_000)

        assert folder.is_dir()
        assert uploader.status.last_error is None
