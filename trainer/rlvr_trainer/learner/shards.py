"""A sharded optimizer state as files: one per rank, readable by any number of ranks under any sharding.

    state-00002-of-00004.safetensors    what rank 2 of 4 held: "NAME weight", "NAME exp_avg", "NAME exp_avg_sq"

Each tensor is a float32 slice of the flattened whole; where it begins is in the file's metadata.  Nothing is gathered
to write them, and a reader takes only what it needs.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from rlvr_trainer.errors import CorruptArtifact

PATTERN: Final = "state-*-of-*.safetensors"
WEIGHT: Final = "weight"
MOMENTS: Final = ("exp_avg", "exp_avg_sq")
KINDS: Final = (WEIGHT, *MOMENTS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """Elements [start, start + n) of a flattened weight and of its moments."""

    name: str
    start: int
    tensors: Mapping[str, Tensor]
    """[n] float32 by kind; where they are now, to be read or written."""

    @property
    def size(self) -> int:
        return self.tensors[WEIGHT].numel()


def write_shard(folder: Path, pieces: Iterable[Piece], *, rank: int, size: int, num_updates: int) -> None:
    """Write the pieces of one rank."""
    held = [piece for piece in pieces if piece.size]
    tensors = {f"{one.name} {kind}": one.tensors[kind].detach().cpu().clone() for one in held for kind in KINDS}
    starts = {piece.name: piece.start for piece in held}
    metadata = {"starts": json.dumps(starts), "updates": str(num_updates), "ranks": str(size)}
    save_file(tensors, folder / f"state-{rank:05d}-of-{size:05d}.safetensors", metadata=metadata)


class Stored(Protocol):
    """Weights and moments of a checkpoint, however its files cut them."""

    @property
    def num_updates(self) -> int: ...

    @property
    def sizes(self) -> Mapping[str, int]:
        """Elements of each weight."""
        ...

    def read(self, name: str, kind: str, *, start: int, size: int) -> Tensor:
        """[size] float32."""
        ...


class Shards:
    """All shards of a checkpoint's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: defaultdict[str, list[tuple[int, int, Any]]] = defaultdict(list)
        self.num_updates = 0
        paths = sorted(folder.glob(PATTERN))
        for path in paths:
            self._index(path, num_paths=len(paths))

    def _index(self, path: Path, *, num_paths: int) -> None:
        file: Any = safe_open(path, framework="pt")
        metadata = file.metadata()
        if int(metadata["ranks"]) != num_paths:
            raise CorruptArtifact(f"{path} is one of {metadata['ranks']} shards, but {num_paths} are there.")
        self.num_updates = int(metadata["updates"])
        for name, start in json.loads(metadata["starts"]).items():
            size = file.get_slice(f"{name} {WEIGHT}").get_shape()[0]
            self._parts[name].append((start, start + size, file))

    @property
    def sizes(self) -> dict[str, int]:
        """Elements of each weight."""
        return {name: max(end for _, end, _ in parts) for name, parts in self._parts.items()}

    def read(self, name: str, kind: str, *, start: int, size: int) -> Tensor:
        """[size] float32 from any shards; CorruptArtifact where none has an element."""
        found, filled = torch.zeros(size), 0
        for first, last, file in self._parts[name]:
            low, high = max(first, start), min(last, start + size)
            if low < high:
                found[low - start : high - start] = file.get_slice(f"{name} {kind}")[low - first : high - first]
                filled += high - low
        if filled != size:
            raise CorruptArtifact(
                f"the shards in {self._folder} hold {filled} of {size} elements of {name} from {start} on."
            )
        return found


def check_fit(shards: Stored, sizes: Mapping[str, int], *, folder: Path) -> None:
    """CorruptArtifact unless the shards are of a model with these weights."""
    different = sorted(name for name in shards.sizes.keys() | sizes.keys() if shards.sizes.get(name) != sizes.get(name))
    if different:
        raise CorruptArtifact(
            f"{folder} does not fit the base model: {different[0]} is missing on one side or sized differently. "
            "Give spec.model the model that the checkpoint was trained from, and training.lora what it had."
        )
