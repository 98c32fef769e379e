"""One place to keep files, whatever it is: a folder, an S3 bucket, memory, anything fsspec has a driver for.

Writes are atomic: a key holds its old bytes or all of its new ones.  Listings are never cached.  Errors are
Unavailable (worth repeating) or InvalidInput (not).  Endpoint and credentials come from the environment that the
store's own tools use (for S3: AWS_*, AWS_ENDPOINT_URL included).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import fsspec

from rlvr_trainer.errors import CorruptArtifact, InvalidInput, TrainerError
from rlvr_trainer.storage.failures import explain

_S3_OPTIONS: Final[dict[str, Any]] = {
    "use_listings_cache": False,
    "skip_instance_cache": True,
    "max_concurrency": 4,  # parts of 50 MiB held in memory at once
    "config_kwargs": {
        "connect_timeout": 5,
        "read_timeout": 60,
        "retries": {"mode": "standard", "max_attempts": 3},
    },
}
_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "file": {"auto_mkdir": True},
    "local": {"auto_mkdir": True},
    "s3": _S3_OPTIONS,
    "s3a": _S3_OPTIONS,
}
_PACKAGES: Final = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored object."""

    key: str
    """Relative to the store's URI, with `/` between folders."""
    num_bytes: int


class Store(Protocol):
    """What checkpoints need from a place; keys are relative to its URI."""

    @property
    def uri(self) -> str: ...
    def put_file(self, source: Path, key: str) -> None: ...
    def get_file(self, key: str, target: Path) -> None: ...
    def put_bytes(self, data: bytes, key: str) -> None: ...
    def get_bytes(self, key: str) -> bytes: ...
    def entries(self, prefix: str = "") -> tuple[Entry, ...]: ...
    def exists(self, key: str) -> bool: ...
    def delete(self, key: str) -> None: ...
    def delete_prefix(self, prefix: str) -> None: ...
    def free_bytes(self) -> int | None: ...


def open_store(uri: str) -> ObjectStore:
    """The store at a path, `file://`, `s3://BUCKET/PREFIX`, ... URI; touches nothing yet."""
    scheme = uri.partition("://")[0] if "://" in uri else "file"
    try:
        filesystem, root = fsspec.core.url_to_fs(os.path.expanduser(uri), **_OPTIONS.get(scheme, {}))  # noqa: PTH111 - a URI, not a path
    except ImportError as error:
        extra = _PACKAGES.get(scheme, scheme)
        raise InvalidInput(f"{uri} needs a driver: pip install 'rlvr-operator[{extra}]' ({error}).") from error
    except ValueError as error:
        raise InvalidInput(
            f"{uri} names no kind of store that is known here ({error}). Use a path, file:// or s3://."
        ) from error
    if not uri.partition("://")[2 if "://" in uri else 0].strip("/") or not root.strip("/"):
        raise InvalidInput(f"{uri} names no bucket or folder. Use for example s3://my-bucket/my-job.")
    return ObjectStore(filesystem, uri=uri.rstrip("/"), root=root.rstrip("/"), is_local=scheme in {"file", "local"})


def check_writable(uri: str) -> None:
    """Write, read, list and delete a small object: InvalidInput or Unavailable if `uri` cannot hold checkpoints."""
    store, key, data = open_store(uri), ".write-check", b"rlvr"
    store.put_bytes(data, key)
    try:
        if store.get_bytes(key) != data or not any(entry.key == key for entry in store.entries()):
            raise InvalidInput(f"{uri} does not give back what was written. Choose another store.")
    finally:
        store.delete(key)


class ObjectStore:
    """A Store over an fsspec file system."""

    def __init__(self, filesystem: Any, *, uri: str, root: str, is_local: bool) -> None:
        self.uri = uri
        self._filesystem = filesystem
        self._root = root
        self._is_local = is_local

    def put_file(self, source: Path, key: str) -> None:
        """Copy a local file to `key`."""
        with self._speaking("write", key):
            self._write(key, lambda path: self._filesystem.put_file(str(source), path))

    def put_bytes(self, data: bytes, key: str) -> None:
        with self._speaking("write", key):
            self._write(key, lambda path: self._filesystem.pipe_file(path, data))

    def get_file(self, key: str, target: Path) -> None:
        """Copy `key` to a local file; CorruptArtifact when there is no such key."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._speaking("read", key), self._present(key):
            self._filesystem.get_file(self._path(key), str(target))

    def get_bytes(self, key: str) -> bytes:
        with self._speaking("read", key), self._present(key):
            data: bytes = self._filesystem.cat_file(self._path(key))
            return data

    def entries(self, prefix: str = "") -> tuple[Entry, ...]:
        """Everything below `prefix` as the store has it now, sorted by key; nothing there is an empty tuple."""
        with self._speaking("list", prefix):
            found = sorted(self._find(self._path(prefix)).values(), key=lambda info: str(info["name"]))
        start = len(self._root) + 1
        stored = (Entry(str(info["name"])[start:], int(info["size"])) for info in found)
        # Some object stores keep an empty object `folder/` for a folder that was emptied.
        return tuple(entry for entry in stored if entry.key and not entry.key.endswith("/"))

    def exists(self, key: str) -> bool:
        with self._speaking("look at", key):
            try:
                return bool(self._filesystem.info(self._path(key))["type"] == "file")
            except FileNotFoundError:
                return False

    def delete(self, key: str) -> None:
        """Remove `key`; one that is not there is fine."""
        if self.exists(key):
            with self._speaking("delete", key):
                self._filesystem.rm_file(self._path(key))

    def delete_prefix(self, prefix: str) -> None:
        """Remove everything below the folder `prefix`; nothing there is fine."""
        if self.entries(prefix):
            with self._speaking("delete", prefix):
                self._filesystem.rm(self._path(prefix), recursive=True)

    def free_bytes(self) -> int | None:
        """Free space of a local folder; None where a store does not tell."""
        return free_bytes(Path(self._root)) if self._is_local else None

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}" if key else self._root

    def _find(self, path: str) -> dict[str, dict[str, Any]]:
        self._filesystem.invalidate_cache()
        if "s3" in self._filesystem.protocol:
            return dict(self._filesystem.find(path, detail=True))
        try:
            return dict(self._filesystem.find(path, detail=True, on_error="raise"))
        except FileNotFoundError:
            return {}

    def _write(self, key: str, write: Callable[[str], None]) -> None:
        """Object stores replace a key in one go; a folder needs a temporary name and a rename."""
        if not self._is_local:
            write(self._path(key))
            return
        final, temporary = Path(self._path(key)), Path(self._path(key) + ".tmp")
        try:
            write(str(temporary))
            _flush(temporary)
            temporary.replace(final)
            _flush(final.parent)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise

    @contextmanager
    def _present(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise CorruptArtifact(f"{self.uri}/{key} does not exist although it should.") from error

    @contextmanager
    def _speaking(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except TrainerError:
            raise
        except Exception as error:  # every store's client has its own exception tree
            raise explain(error, action=action, uri=f"{self.uri}/{key}") from error


def free_bytes(folder: Path) -> int:
    """Bytes an ordinary user may still write to the file system that holds (or will hold) `folder`."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    facts = os.statvfs(there)
    return facts.f_bavail * facts.f_frsize


def _flush(path: Path) -> None:
    """Force a file or folder to the disk, so that READY never outlives what it promises."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
