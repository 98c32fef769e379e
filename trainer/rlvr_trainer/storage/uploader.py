"""Checkpoints in the background: training goes on while one is uploaded.

One upload at a time.  A store that is away, full or refuses is tried again for ever, every error visible in `status`;
the next checkpoint, and only it, waits.  `expire` bounds all waiting, for the end of a process.
Checkpoints still in memory or staged when the process dies are gone: the previous READY is what resumes.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.storage.checkpoints import (
    Checkpoint,
    Checkpoints,
    Manifest,
    Operation,
    Origin,
    carry_out,
    describe,
    plan_files,
    plan_retention,
)
from rlvr_trainer.storage.parts import ONLY, Node, gather_parts, plan_completion, plan_part
from rlvr_trainer.storage.patience import persist
from rlvr_trainer.storage.store import free_bytes

logger = logging.getLogger(__name__)
_POLL_SECONDS: Final = 0.1
_PATIENT_SECONDS: Final = 1.0
_REMIND_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadStatus:
    """The newest complete checkpoint and what stands in the way of the next."""

    step: int | None = None
    uri: str | None = None
    num_bytes: int | None = None
    at: float | None = None
    """Unix seconds when it became READY; None for one that an earlier attempt wrote."""
    uploading: int | None = None
    """Step being uploaded now."""
    last_error: str | None = None
    """Why the current upload is not done yet; None while all goes well."""


@dataclass(frozen=True, slots=True)
class _Upload:
    step: int
    folder: Path


def folder_of(staging: Path, step: int) -> Path:
    """Where the checkpoint of `step` is staged."""
    return staging / f"step-{step:06d}"


def require_space(folder: Path, num_bytes: int) -> None:
    """Unavailable unless twice `num_bytes` fit where `folder` is: one copy staged, one being uploaded."""
    free, needed = free_bytes(folder), 2 * num_bytes
    if free < needed:
        raise Unavailable(
            f"{folder} has {free} bytes free and staging a checkpoint needs {needed}: free space on that disk."
        )


class Uploader:
    """Uploads staged folders one after the other on a thread of its own.

    `stage` -> write files into the folder -> `submit`; at the end `drain` or `close`.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        *,
        staging: Path,
        origin: Origin,
        board: Board,
        resumed: Checkpoint | None,
        node: Node = ONLY,
    ) -> None:
        self._node = node
        self._checkpoints = checkpoints
        self._staging = staging
        self._origin = origin
        self._board = board
        self._status = UploadStatus()
        self._given_up = threading.Event()
        self._deadline = float("inf")
        self._changed = threading.Condition()  # reentrant; guards the status and the upload in hand
        self._upload: _Upload | None = None
        self._failure: BaseException | None = None
        self._closed = False
        if resumed is not None:
            self._completed(resumed, at=None)
        self._thread = threading.Thread(target=self._work, name="checkpoint-uploader", daemon=True)
        shutil.rmtree(staging, ignore_errors=True)
        self._thread.start()

    @property
    def status(self) -> UploadStatus:
        return self._status

    def stage(self, step: int, *, num_bytes: int) -> Path:
        """An empty folder for a checkpoint of about `num_bytes`; waits, and says so, while the disk has no room."""
        folder = folder_of(self._staging, step)
        persist(partial(require_space, self._staging, num_bytes), on_error=self._failed, pause=self._pause)
        self._tell(last_error=None)
        if self._node.count > 1 and self._node.completes:
            # Before any other node stores a file of it.
            self._persevere(plan_files(step, {}))
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def submit(self, step: int, folder: Path) -> None:
        """Hand over a staged folder, which is deleted once uploaded; waits while the previous one is not done."""
        self.drain()
        with self._changed:
            self._upload = _Upload(step, folder)
            self._tell(uploading=step)

    def drain(self) -> None:
        """Wait until nothing is being uploaded; Unavailable when the deadline of `expire` passes first."""
        remind_at = time.monotonic() + _PATIENT_SECONDS
        while (upload := self._current()) is not None:
            if time.monotonic() >= remind_at:
                logger.warning(
                    "waiting for the checkpoint of step %d: %s",
                    upload.step,
                    self._status.last_error or "it is being uploaded",
                )
                remind_at += _REMIND_SECONDS
            self._check_deadline(upload.step)
            with self._changed:
                self._changed.wait(_POLL_SECONDS)

    def expire(self, seconds: float) -> None:
        """From now on wait and retry no longer than this; safe in a signal handler."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)

    def close(self, *, timeout: float) -> bool:
        """Finish within `timeout` seconds and end the thread; whether everything was uploaded."""
        self.expire(timeout)
        try:
            self.drain()
        except Unavailable as error:
            logger.warning("%s", error)
            self._given_up.set()
            return False
        finally:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self._thread.join(timeout=1.0)
        return True

    def _current(self) -> _Upload | None:
        if self._failure is not None:
            raise self._failure
        return self._upload

    def _check_deadline(self, step: int) -> None:
        if time.monotonic() >= self._deadline:
            reason = self._status.last_error or "time is up"
            raise Unavailable(f"the checkpoint of step {step} is not complete: {reason}")

    def _work(self) -> None:
        """The thread: one upload after the other; what is not the store's fault ends up with the trainer."""
        while (upload := self._next()) is not None:
            try:
                self._carry(upload)
            except BaseException as error:  # noqa: BLE001 - raised again by whoever calls next
                self._failure = error
                return
            with self._changed:
                self._upload = None
                self._tell(uploading=None)

    def _next(self) -> _Upload | None:
        with self._changed:
            self._changed.wait_for(lambda: self._upload is not None or self._closed)
            return None if self._closed else self._upload

    def _carry(self, upload: _Upload) -> None:
        started = time.monotonic()
        files = {
            str(path.relative_to(upload.folder)): path for path in sorted(upload.folder.rglob("*")) if path.is_file()
        }
        manifest = describe(upload.step, files, self._origin)
        if not self._node.completes:
            self._persevere(plan_part(files, manifest, node=self._node.index))
            shutil.rmtree(upload.folder, ignore_errors=True)
            return
        self._persevere(plan_files(upload.step, files))
        manifest = self._gathered(manifest)
        self._persevere(plan_completion(manifest, self._node))
        self._completed(self._checkpoints.named(manifest), at=time.time())
        self._board.observe("rlvr_checkpoint_upload_seconds", time.monotonic() - started)
        logger.info("checkpoint of step %d is complete: %s", upload.step, self._status.uri)
        shutil.rmtree(upload.folder, ignore_errors=True)
        stored = persist(self._checkpoints.stored, on_error=self._failed, retry_on=(TrainerError,), pause=self._pause)
        self._persevere(plan_retention(stored, newest=upload.step, keep=self._checkpoints.keep))

    def _gathered(self, own: Manifest) -> Manifest:
        """With the files of all other nodes, once they are stored."""
        gather = partial(gather_parts, self._checkpoints.store, own, self._node)
        return persist(gather, on_error=self._waiting, retry_on=(TrainerError,), pause=self._pause)

    def _waiting(self, error: TrainerError) -> None:
        """Another node is not done, or the store is away."""
        self._tell(last_error=str(error))
        if self._given_up.is_set() or time.monotonic() >= self._deadline:
            raise Unavailable(f"gave up: {error}") from error

    def _persevere(self, operations: tuple[Operation, ...]) -> None:
        for operation in operations:
            work = partial(carry_out, operation, self._checkpoints.store)
            # Refusals are repeated too: the store could be written when training began, so somebody can mend it.
            persist(work, on_error=self._failed, retry_on=(TrainerError,), pause=self._pause)
            self._tell(last_error=None)

    def _completed(self, checkpoint: Checkpoint, *, at: float | None) -> None:
        num_bytes = checkpoint.manifest.num_bytes
        self._tell(step=checkpoint.step, uri=checkpoint.uri, num_bytes=num_bytes, at=at, last_error=None)
        self._board.set("rlvr_checkpoint_step", checkpoint.step)
        self._board.set("rlvr_checkpoint_bytes", num_bytes)
        if at is not None:
            self._board.set("rlvr_checkpoint_timestamp_seconds", at)

    def _failed(self, error: TrainerError) -> None:
        self._tell(last_error=str(error))
        self._board.add("rlvr_checkpoint_errors_total")
        if self._given_up.is_set() or time.monotonic() >= self._deadline:
            raise Unavailable(f"gave up: {error}") from error
        logger.warning("%s; trying again", error)

    def _tell(self, **changes: Any) -> None:
        with self._changed:
            self._status = replace(self._status, **changes)
            self._changed.notify_all()

    def _pause(self, seconds: float) -> None:
        self._given_up.wait(min(seconds, max(self._deadline - time.monotonic(), 0.0)))
