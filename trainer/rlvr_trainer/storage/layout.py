"""How checkpoints lie in a store, and which of them may go.  Pure.

URI/step-000018/{FILES..., manifest.json, READY}    READY holds the SHA-256 of manifest.json and is written last
URI/latest                                          a convenience for people; nothing here reads it
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from rlvr_trainer.storage.store import Entry

READY: Final = "READY"
MANIFEST: Final = "manifest.json"
LATEST: Final = "latest"
_NAME: Final = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint folder as a listing shows it."""

    step: int
    sizes: Mapping[str, int]
    """Bytes by file name inside the folder."""

    @property
    def is_complete(self) -> bool:
        return READY in self.sizes


def checkpoint_name(step: int) -> str:
    return f"step-{step:06d}"


def step_of(name: str) -> int | None:
    """The step in a checkpoint's folder name; None for any other name."""
    match = _NAME.fullmatch(name)
    return int(match[1]) if match else None


def survey(entries: Iterable[Entry]) -> tuple[Stored, ...]:
    """The checkpoints in a listing, oldest first; objects that belong to none are passed over."""
    folders: dict[int, dict[str, int]] = {}
    for entry in entries:
        folder, _, name = entry.key.partition("/")
        step = step_of(folder)
        if step is not None and name:
            folders.setdefault(step, {})[name] = entry.num_bytes
    return tuple(Stored(step, folders[step]) for step in sorted(folders))


def expendable(stored: Iterable[Stored], *, newest: int, keep: int) -> tuple[int, ...]:
    """Steps whose folders may go once the checkpoint of step `newest` is READY, oldest first.

    Complete ones beyond the newest `keep`, and incomplete ones older than `newest`.  Later steps are left alone: they
    belong to a run that went further, and are not this run's to delete.
    """
    earlier = [item for item in stored if item.step <= newest]
    complete = [item.step for item in earlier if item.is_complete]
    abandoned = [item.step for item in earlier if not item.is_complete and item.step < newest]
    return tuple(sorted([*complete[:-keep], *abandoned]))
