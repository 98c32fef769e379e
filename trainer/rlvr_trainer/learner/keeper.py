"""When a checkpoint is made: every so many steps, at the end, and when somebody asks the learner to stop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rlvr_api import CheckpointProgress
from rlvr_trainer.learner.backends.base import Backend
from rlvr_trainer.learner.exchange import Exchange
from rlvr_trainer.learner.state import Boundary, save_boundary
from rlvr_trainer.storage.uploader import Uploader

_LOOK_SECONDS: Final = 0.2


class Keeper:
    """The one owner of what is saved and what is not."""

    def __init__(self, uploader: Uploader, backend: Backend, *, every: int, resumed: Boundary) -> None:
        self._uploader = uploader
        self._backend = backend
        self._every = every
        self._newest = self._saved = resumed
        self._is_waiting = False

    def keep(self, boundary: Boundary) -> None:
        """Take note of a finished step, while the backend still is at its end; save it when due."""
        self._newest = boundary
        if boundary.step % self._every == 0:
            self._save()

    def finish(self) -> None:
        """Save the newest step if that is not done, and wait until it is stored.  Unavailable when time runs out."""
        if self._newest.step != self._saved.step:
            self._save()
        self._is_waiting = True
        self._uploader.drain()
        self._is_waiting = False

    def close(self, *, timeout: float) -> None:
        """Give what is being uploaded `timeout` seconds to end; saves nothing."""
        self._uploader.close(timeout=timeout)

    def _save(self) -> None:
        boundary = self._newest
        self._is_waiting = True
        folder = self._uploader.stage(boundary.step, num_bytes=self._backend.num_bytes)
        save_boundary(folder, self._backend, boundary)
        self._uploader.submit(boundary.step, folder)
        self._is_waiting = False
        self._saved = boundary

    @property
    def progress(self) -> CheckpointProgress:
        """What the coordinator may tell about checkpoints."""
        status = self._uploader.status
        return CheckpointProgress(
            step=status.step,
            uri=status.uri,
            saved_at=status.at,
            is_waiting=self._is_waiting,
            last_error=status.last_error,
        )


@contextmanager
def following(keeper: Keeper, exchange: Exchange) -> Iterator[None]:
    """While the block runs and once at its end, the coordinator knows how checkpoints are doing."""
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(keeper, exchange, ended), name="checkpoint-news", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(keeper: Keeper, exchange: Exchange, ended: threading.Event) -> None:
    told = None
    is_last = False
    while not is_last:
        is_last = ended.wait(_LOOK_SECONDS)
        if (progress := keeper.progress) != told:
            exchange.tell_checkpoint(progress)
            told = progress
