"""Sizes and SHA-256 of files, and whether a file still agrees with them.  Standard library only."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class FileFact:
    """What a manifest promises about one file."""

    bytes: int
    sha256: str
    """Lower-case hexadecimal."""


def fact_of(path: Path) -> FileFact:
    """Read `path` once and describe it."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileFact(bytes=file.tell(), sha256=digest)


def is_inside(name: str) -> bool:
    """Whether a promised file name stays inside its folder."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


def size_mismatch(promised: Mapping[str, FileFact], sizes: Mapping[str, int]) -> str | None:
    """The first promised file that is absent, misplaced or of another size, in words; None when all agree."""
    for name, fact in promised.items():
        if not is_inside(name):
            return f"{name!r} would lie outside its folder"
        if name not in sizes:
            return f"{name} is missing"
        if sizes[name] != fact.bytes:
            return f"{name} has {sizes[name]} bytes, its manifest promises {fact.bytes}"
    return None


def content_mismatch(path: Path, promised: FileFact) -> str | None:
    """How the file at `path` differs from `promised`, in words; None when it does not."""
    found = fact_of(path)
    if found.bytes != promised.bytes:
        return f"{path.name} has {found.bytes} bytes, its manifest promises {promised.bytes}"
    if found.sha256 != promised.sha256:
        return f"{path.name} has sha256 {found.sha256[:12]}..., its manifest promises {promised.sha256[:12]}..."
    return None
