"""Policy folders: sealed by the learner, served by the coordinator, checked by rollouts.

    policies/17-3fa2c1d09b7e/{Hugging Face files..., adapter/ of a LoRA job, manifest.json, READY}

The label is the step and the manifest's hash, so two attempts never share one by accident.  A folder appears under its
label at once (rename) and is whole once READY is there.  Standard library only; local folders only.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rlvr_trainer.errors import CorruptArtifact
from rlvr_trainer.storage.digests import FileFact, content_mismatch, fact_of, is_inside

MANIFEST: Final = "manifest.json"
READY: Final = "READY"
_LABEL: Final = re.compile(r"(\d+)-[0-9a-f]{12}")


def seal_policy(folder: Path, *, step: int) -> str:
    """Seal a finished folder of policy files and rename it to its label beside itself; returns the label.

    Sealing equal files twice gives one label; the second folder replaces nothing and is removed.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = _render({path.relative_to(folder).as_posix(): fact_of(path) for path in files})
    label = label_of(step, manifest)
    sealed = folder.parent / label
    if (sealed / READY).exists():
        shutil.rmtree(folder)
        return label
    shutil.rmtree(sealed, ignore_errors=True)
    (folder / MANIFEST).write_bytes(manifest)
    folder.rename(sealed)
    (sealed / READY).touch()
    return label


def label_of(step: int, manifest: bytes) -> str:
    """`{step}-{first 12 hex digits of the SHA-256 of manifest.json}`."""
    return f"{step}-{hashlib.sha256(manifest).hexdigest()[:12]}"


def step_of(label: str) -> int:
    """Finished training steps of a policy; CorruptArtifact when `label` is none."""
    match = _LABEL.fullmatch(label)
    if match is None:
        raise CorruptArtifact(f"{label!r} is not a policy label such as 17-3fa2c1d09b7e.")
    return int(match[1])


def read_manifest(data: bytes, *, label: str) -> dict[str, FileFact]:
    """The files that manifest.json promises, or CorruptArtifact when it is not the one that `label` names."""
    if label_of(step_of(label), data) != label:
        raise CorruptArtifact(f"manifest.json of policy {label} does not match its label.")
    files: dict[str, dict[str, Any]] = json.loads(data)["files"]
    if not all(map(is_inside, files)):
        raise CorruptArtifact(f"manifest.json of policy {label} names files outside its folder: {sorted(files)}.")
    return {name: FileFact(**fact) for name, fact in files.items()}


def verify_policy(folder: Path) -> None:
    """CorruptArtifact unless `folder`, named by its label, holds every file its manifest promises."""
    try:
        for name, promised in read_manifest((folder / MANIFEST).read_bytes(), label=folder.name).items():
            difference = content_mismatch(folder / name, promised)
            if difference is not None:
                raise CorruptArtifact(f"policy {folder.name}: {difference}")
    except FileNotFoundError as error:
        raise CorruptArtifact(f"policy {folder.name}: {Path(error.filename).name} is missing") from error


def newest_policies(policies: Path) -> tuple[str, ...]:
    """Labels of the READY policies in a folder, newest step first."""
    labels = [path.parent.name for path in policies.glob(f"*/{READY}") if _LABEL.fullmatch(path.parent.name)]
    return tuple(sorted(labels, key=step_of, reverse=True))


def expendable(labels: Iterable[str], *, keep: int, protected: Collection[str]) -> tuple[str, ...]:
    """Labels beyond the newest `keep` steps that nobody protects."""
    ordered = sorted(labels, key=step_of, reverse=True)
    return tuple(label for label in ordered[keep:] if label not in protected)


def prune(policies: Path, *, keep: int, protected: Collection[str] = ()) -> None:
    """Delete all but the newest `keep` READY policies, READY first; `protected` labels stay whatever their age."""
    for label in expendable(newest_policies(policies), keep=keep, protected=protected):
        (policies / label / READY).unlink(missing_ok=True)
        shutil.rmtree(policies / label, ignore_errors=True)


def _render(files: dict[str, FileFact]) -> bytes:
    return json.dumps({"files": {name: asdict(fact) for name, fact in files.items()}}, sort_keys=True).encode()
