"""Checkpoints to save, and stores that fail or kill their process at a chosen operation."""

import os
import signal
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlvr_trainer.errors import TrainerError
from rlvr_trainer.storage.checkpoints import Checkpoints, Manifest, Origin
from rlvr_trainer.storage.store import ObjectStore, Store, open_store

WRITING = frozenset({"put_file", "put_bytes", "delete", "delete_prefix"})


def an_origin(*, attempt: int = 1, job_digest: str = "job") -> Origin:
    return Origin(attempt=attempt, job_digest=job_digest, world_size=1)


def a_memory_store() -> ObjectStore:
    return open_store(f"memory://{uuid.uuid4().hex}/job")


def files_of(step: int, folder: Path) -> dict[str, Path]:
    """Two files whose content tells the step."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / name for name in ("model.safetensors", "coordinator.json")}
    for name, path in files.items():
        path.write_bytes(content_of(step, name))
    return files


def content_of(step: int, name: str) -> bytes:
    return f"{name} of step {step};".encode() * 100


def save(store: Store, step: int, folder: Path, *, keep: int = 3) -> None:
    Checkpoints(store, keep=keep).save(step, files_of(step, folder), an_origin())


def anything(manifest: Manifest) -> bool:
    return True


class WatchedStore:
    """A store that calls `before(number, method, key)` ahead of its n-th operation, counted from 1."""

    def __init__(self, inner: Store, before: Callable[[int, str, str], None]) -> None:
        self.uri = inner.uri
        self._inner = inner
        self._before = before
        self.num_operations = 0

    def _do(self, method: str, *arguments: Any) -> Any:
        self.num_operations += 1
        self._before(self.num_operations, method, str(arguments[-1]) if arguments else "")
        return getattr(self._inner, method)(*arguments)

    def put_file(self, source: Path, key: str) -> None:
        self._do("put_file", source, key)

    def put_bytes(self, data: bytes, key: str) -> None:
        self._do("put_bytes", data, key)

    def get_file(self, key: str, target: Path) -> None:
        self._inner.get_file(key, target)

    def get_bytes(self, key: str) -> bytes:
        return self._inner.get_bytes(key)

    def entries(self, prefix: str = "") -> Any:
        return self._do("entries", prefix)

    def exists(self, key: str) -> bool:
        return self._inner.exists(key)

    def delete(self, key: str) -> None:
        self._do("delete", key)

    def delete_prefix(self, prefix: str) -> None:
        self._do("delete_prefix", prefix)

    def free_bytes(self) -> int | None:
        return self._inner.free_bytes()


def failing(store: Store, errors: list[TrainerError]) -> WatchedStore:
    """`store`, whose next writes raise `errors`, one each, until none is left."""

    def before(_number: int, method: str, _key: str) -> None:
        if method in WRITING and errors:
            raise errors.pop(0)

    return WatchedStore(store, before)


def dying(store: Store, *, at: int) -> WatchedStore:
    """`store`, that kills its process ahead of operation `at`."""

    def before(number: int, _method: str, _key: str) -> None:
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return WatchedStore(store, before)
