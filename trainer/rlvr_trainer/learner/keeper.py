"""When a checkpoint is made: every so many steps, at the end, and when somebody asks the learner to stop.

All ranks save at the same steps, each its own shard, and rank 0 adds the rest.  The first rank of a node stores what is
in the node's folder; rank 0 completes the checkpoint once all nodes have.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from rlvr_api import CheckpointProgress
from rlvr_trainer.learner.backends.base import Backend
from rlvr_trainer.learner.exchange import Exchange
from rlvr_trainer.learner.ranks import ALONE, Ranks
from rlvr_trainer.learner.state import Boundary, save_boundary
from rlvr_trainer.storage.uploader import UploadStatus, folder_of

_LOOK_SECONDS: Final = 0.2


class Uploads(Protocol):
    """Where staged checkpoints go: storage/uploader.py."""

    @property
    def status(self) -> UploadStatus: ...

    def stage(self, step: int, *, num_bytes: int) -> Path: ...

    def submit(self, step: int, folder: Path) -> None: ...

    def drain(self) -> None: ...

    def expire(self, seconds: float) -> None: ...

    def close(self, *, timeout: float) -> bool: ...


class Follower:
    """Uploads of a rank that is not the first of its node: it writes its shard there, and the first one stores it."""

    status = UploadStatus()

    def __init__(self, staging: Path) -> None:
        self._staging = staging

    def stage(self, step: int, *, num_bytes: int) -> Path:  # noqa: ARG002 - the first one looked for space for all
        return folder_of(self._staging, step)

    def submit(self, step: int, folder: Path) -> None: ...

    def drain(self) -> None: ...

    def expire(self, seconds: float) -> None: ...

    def close(self, *, timeout: float) -> bool:  # noqa: ARG002 - nothing to wait for
        return True


class Keeper:
    """The one owner of what is saved and what is not."""

    def __init__(
        self, uploads: Uploads, backend: Backend, *, every: int, resumed: Boundary, ranks: Ranks = ALONE
    ) -> None:
        self._uploads = uploads
        self._backend = backend
        self._ranks = ranks
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
        self._uploads.drain()
        self._is_waiting = False

    def close(self, *, timeout: float) -> None:
        """Give what is being uploaded `timeout` seconds to end; saves nothing."""
        self._uploads.close(timeout=timeout)

    def _save(self) -> None:
        boundary = self._newest
        self._is_waiting = True
        folder = self._uploads.stage(boundary.step, num_bytes=self._backend.num_bytes)
        self._ranks.meet()
        self._backend.save(folder)
        if self._ranks.rank == 0:
            save_boundary(folder, boundary)
        self._ranks.meet()
        self._uploads.submit(boundary.step, folder)
        self._is_waiting = False
        self._saved = boundary

    @property
    def progress(self) -> CheckpointProgress:
        """What the coordinator may tell about checkpoints."""
        status = self._uploads.status
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
