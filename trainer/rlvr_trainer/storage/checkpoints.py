"""Save, find, fetch and retire checkpoints.

A checkpoint counts once READY is there, and READY is written last: a process killed at any point leaves the old
checkpoint or the new one.  Partial and corrupt ones are skipped with a warning that names them; a store that cannot be
reached is an error, never "no checkpoint".  One writer per URI is assumed.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from rlvr_trainer.errors import CorruptArtifact, InvalidInput
from rlvr_trainer.storage.digests import FileFact, content_mismatch, fact_of, size_mismatch
from rlvr_trainer.storage.layout import LATEST, MANIFEST, READY, Stored, checkpoint_name, expendable, survey
from rlvr_trainer.storage.store import Store, open_store
from rlvr_trainer.wire import from_json, to_json

logger = logging.getLogger(__name__)
FORM: Final = 2
"""Of a checkpoint's files: 1 kept every fate in the ledger, 2 counts fates there and keeps them in the history."""


class Origin(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who writes a checkpoint; the same for all of an attempt."""

    attempt: int
    job_digest: str
    """Identity of model, data and algorithm: a checkpoint of another identity is not resumed from."""
    world_size: int
    run: str = ""
    """Identity of the run that its attempts share; two runs of one job differ in it."""


class Manifest(Origin, frozen=True, kw_only=True, rename="camel"):
    """manifest.json."""

    step: int
    files: dict[str, FileFact]
    form: int = 1
    """Which FORM the files have; the first did not say."""

    @property
    def num_bytes(self) -> int:
        return sum(fact.bytes for fact in self.files.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One complete checkpoint."""

    uri: str
    manifest: Manifest

    @property
    def step(self) -> int:
        return self.manifest.step


@dataclass(frozen=True, slots=True)
class Put:
    """Store a local file, or bytes, under a key."""

    key: str
    content: Path | bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove one key."""

    key: str


@dataclass(frozen=True, slots=True)
class DeleteFolder:
    """Remove everything below a prefix."""

    prefix: str


Operation = Put | Delete | DeleteFolder


def describe(step: int, files: Mapping[str, Path], origin: Origin) -> Manifest:
    """The manifest of `files` (name in the checkpoint -> local file); reads and hashes each."""
    return Manifest(
        attempt=origin.attempt,
        job_digest=origin.job_digest,
        world_size=origin.world_size,
        run=origin.run,
        form=FORM,
        step=step,
        files={name: fact_of(path) for name, path in files.items()},
    )


def plan_save(files: Mapping[str, Path], manifest: Manifest) -> tuple[Operation, ...]:
    """What stores a checkpoint, in the only order that is safe: an old READY goes first, the new one comes last."""
    return (*plan_files(manifest.step, files), *plan_seal(manifest))


def plan_files(step: int, files: Mapping[str, Path]) -> tuple[Operation, ...]:
    """The files of `step`, which is no checkpoint any more and none yet."""
    name = checkpoint_name(step)
    return (Delete(f"{name}/{READY}"), *(Put(f"{name}/{file}", path) for file, path in files.items()))


def plan_seal(manifest: Manifest) -> tuple[Operation, ...]:
    """What makes stored files a checkpoint."""
    name, sealed = checkpoint_name(manifest.step), to_json(manifest)
    return (
        Put(f"{name}/{MANIFEST}", sealed),
        Put(f"{name}/{READY}", _seal(sealed)),
        Put(LATEST, name.encode()),
    )


def plan_retention(stored: Sequence[Stored], *, newest: int, keep: int) -> tuple[Operation, ...]:
    """What removes expendable checkpoints; READY first, so that none looks complete while it disappears."""
    names = [checkpoint_name(step) for step in expendable(stored, newest=newest, keep=keep)]
    return tuple(operation for name in names for operation in (Delete(f"{name}/{READY}"), DeleteFolder(name)))


def carry_out(operation: Operation, store: Store) -> None:
    """Do one operation; each may be repeated."""
    match operation:
        case Put(key=key, content=Path() as source):
            store.put_file(source, key)
        case Put(key=key, content=bytes() as data):
            store.put_bytes(data, key)
        case Delete(key=key):
            store.delete(key)
        case DeleteFolder(prefix=prefix):
            store.delete_prefix(prefix)


def _seal(manifest: bytes) -> bytes:
    return hashlib.sha256(manifest).hexdigest().encode()


def open_checkpoints(uri: str, *, keep: int) -> Checkpoints:
    """The checkpoints at a path, `file://` or `s3://` URI."""
    return Checkpoints(open_store(uri), keep=keep)


class Checkpoints:
    """The checkpoints of one job in one store."""

    def __init__(self, store: Store, *, keep: int) -> None:
        assert keep >= 1, f"keep={keep}"
        self.store = store
        self.keep = keep

    def stored(self) -> tuple[Stored, ...]:
        """What the store holds now, complete or not, oldest first."""
        return survey(self.store.entries())

    def save(self, step: int, files: Mapping[str, Path], origin: Origin) -> Checkpoint:
        """Store `files` (name -> local file) as the checkpoint of `step`, then retire old ones."""
        manifest = describe(step, files, origin)
        for operation in plan_save(files, manifest):
            carry_out(operation, self.store)
        for operation in plan_retention(self.stored(), newest=step, keep=self.keep):
            carry_out(operation, self.store)
        return self.named(manifest)

    def newest(self, accept: Callable[[Manifest], bool]) -> Checkpoint | None:
        """The newest complete checkpoint that `accept` takes; its files are checked by size only."""
        return next(self._complete(accept), None)

    def fetch(self, checkpoint: Checkpoint, folder: Path) -> None:
        """Download into `folder` and compare every hash; CorruptArtifact at the first difference."""
        for name, promised in checkpoint.manifest.files.items():
            self.store.get_file(f"{checkpoint_name(checkpoint.step)}/{name}", folder / name)
            difference = content_mismatch(folder / name, promised)
            if difference is not None:
                raise CorruptArtifact(f"{checkpoint.uri}: {difference}")

    def restore(self, folder: Path, *, accept: Callable[[Manifest], bool]) -> Checkpoint | None:
        """Fetch the newest accepted checkpoint whose content is whole; `folder` holds only its files afterwards."""
        for checkpoint in self._complete(accept):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            try:
                self.fetch(checkpoint, folder)
            except CorruptArtifact as error:
                logger.warning("skipping a corrupt checkpoint: %s", error)
            else:
                return checkpoint
        return None

    def named(self, manifest: Manifest) -> Checkpoint:
        """The checkpoint that `manifest` describes, with its address in this store."""
        return Checkpoint(uri=f"{self.store.uri}/{checkpoint_name(manifest.step)}", manifest=manifest)

    def _complete(self, accept: Callable[[Manifest], bool]) -> Iterator[Checkpoint]:
        for stored in reversed(self.stored()):
            try:
                manifest = self._manifest(stored)
            except CorruptArtifact as error:
                logger.warning("skipping checkpoint %s/%s: %s", self.store.uri, checkpoint_name(stored.step), error)
                continue
            if accept(manifest):
                yield self.named(manifest)
            else:
                logger.info("checkpoint %s/%s is not this job's", self.store.uri, checkpoint_name(stored.step))

    def _manifest(self, stored: Stored) -> Manifest:
        """A stored checkpoint's manifest once everything a listing can show agrees with it; else CorruptArtifact."""
        if not stored.is_complete:
            raise CorruptArtifact("it is partial: it has no READY")
        folder = checkpoint_name(stored.step)
        sealed = self.store.get_bytes(f"{folder}/{MANIFEST}")
        if self.store.get_bytes(f"{folder}/{READY}") != _seal(sealed):
            raise CorruptArtifact("manifest.json is not the one that READY promises")
        manifest = from_json(sealed, Manifest)
        difference = size_mismatch(manifest.files, stored.sizes)
        if difference is not None or manifest.step != stored.step:
            raise CorruptArtifact(difference or f"its manifest is of step {manifest.step}")
        if manifest.form != FORM:
            raise InvalidInput(
                f"the checkpoint {self.store.uri}/{folder} has form {manifest.form}; this version reads {FORM}. Go "
                "on with the version that wrote it, or begin anew: another checkpoint.uri, or a new folder."
            )
        return manifest
