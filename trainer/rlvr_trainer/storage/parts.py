"""A checkpoint that several nodes write: each stores its own files, and the first one completes it.

    step-000018/part-a003-n00001.json    what node 1 of attempt 3 stored, written after its files

A node's part names its attempt: what an attempt that was lost left behind is never taken for another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rlvr_trainer.errors import Unavailable
from rlvr_trainer.storage.checkpoints import Delete, Manifest, Operation, Put, plan_seal
from rlvr_trainer.storage.digests import FileFact
from rlvr_trainer.storage.layout import checkpoint_name
from rlvr_trainer.storage.store import Store
from rlvr_trainer.wire import from_json, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Which of the learner's nodes this is."""

    index: int = 0
    count: int = 1

    @property
    def completes(self) -> bool:
        """Whether it writes manifest and READY."""
        return self.index == 0


ONLY: Final = Node()


def part_key(step: int, *, attempt: int, node: int) -> str:
    return f"{checkpoint_name(step)}/part-a{attempt:03d}-n{node:05d}.json"


def plan_part(files: Mapping[str, Path], part: Manifest, *, node: int) -> tuple[Operation, ...]:
    """What stores a node's part: its files, then what they are."""
    name = checkpoint_name(part.step)
    key = part_key(part.step, attempt=part.attempt, node=node)
    return (*(Put(f"{name}/{file}", path) for file, path in files.items()), Put(key, to_json(part)))


def gather_parts(store: Store, own: Manifest, node: Node) -> Manifest:
    """The manifest of all nodes' files; Unavailable, naming the node, while one has not stored its part."""
    files: dict[str, FileFact] = dict(own.files)
    for other in range(1, node.count):
        key = part_key(own.step, attempt=own.attempt, node=other)
        if not store.exists(key):
            raise Unavailable(f"node {other} has not stored its part of step {own.step} yet ({store.uri}/{key}).")
        files |= from_json(store.get_bytes(key), Manifest).files
    return Manifest(
        attempt=own.attempt,
        job_digest=own.job_digest,
        world_size=own.world_size,
        run=own.run,
        form=own.form,
        step=own.step,
        files=files,
    )


def plan_completion(whole: Manifest, node: Node) -> tuple[Operation, ...]:
    """What turns the parts into a checkpoint."""
    keys = [part_key(whole.step, attempt=whole.attempt, node=other) for other in range(1, node.count)]
    return (*map(Delete, keys), *plan_seal(whole))
