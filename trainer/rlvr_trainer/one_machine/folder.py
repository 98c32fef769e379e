"""The folder of a run: what lies where, who may use it, and whether it belongs to this job.

    job.json token targets.json processes.json lock logs/ work/ reward-i/ rollout-i/ checkpoints/
    result.json report.html

One supervisor at a time (flock).  The token is readable by its owner only.  Starting again in the same folder resumes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rlvr_api import RLVRJob
from rlvr_api.spec import FROZEN_WHILE_RUNNING
from rlvr_trainer.errors import CorruptArtifact, InvalidInput

_IDENTITY_DIGITS: Final = 16
EXTENDABLE: Final = "steps"
"""The one field of `training` that may change in an existing folder: a finished run can go on."""


class RunFolder:
    """Paths of one run."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self.job = self.root / "job.json"
        self.token = self.root / "token"
        self.targets = self.root / "targets.json"
        self.processes = self.root / "processes.json"
        self.logs = self.root / "logs"
        self.work = self.root / "work"
        self.checkpoints = self.root / "checkpoints"
        self.result = self.root / "result.json"
        self.report = self.root / "report.html"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for this process; InvalidInput when another one has it."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise InvalidInput(
                    f"{self.root} is in use by process {lock.read().strip() or 'unknown'}. "
                    "Wait for it, stop it, or choose another folder with --dir."
                ) from None
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            yield

    def prepare(self, job: RLVRJob) -> None:
        """Everything the roles need before they start; changes nothing that a resumed run relies on."""
        self.work.mkdir(parents=True, exist_ok=True)
        if not self.token.exists():
            _replace(self.token, secrets.token_urlsafe(32), mode=0o600)
        _replace(self.job, job.model_dump_json(by_alias=True, exclude_unset=True, indent=1))

    def identity(self) -> str:
        """Names the run to its roles; follows from its token, without telling it."""
        return hashlib.sha256(f"run {self.token.read_text()}".encode()).hexdigest()[:_IDENTITY_DIGITS]

    def stored_job(self) -> RLVRJob | None:
        """The job this folder was made for; None when it is new."""
        if not self.job.exists():
            return None
        try:
            return RLVRJob.model_validate_json(self.job.read_bytes())
        except ValueError as error:
            raise CorruptArtifact(
                f"{self.job} is not a job ({error}). Move the folder away to start afresh."
            ) from error

    def next_attempt(self) -> int:
        """One more than the highest attempt that ever ran here; 0 in a new folder."""
        numbers = [int(path.name[1:]) for path in self.work.glob("attempts/a*") if path.name[1:].isdigit()]
        return max(numbers, default=-1) + 1

    def claim_attempt(self, attempt: int) -> None:
        """Use up an attempt's number before anything runs under it, so that no later attempt repeats it."""
        (self.work / "attempts" / f"a{attempt:03d}").mkdir(parents=True, exist_ok=True)

    def finished_result(self) -> dict[str, Any] | None:
        """What the coordinator left at the end of the job; None before that."""
        path = self.work / "result.json"
        found: dict[str, Any] | None = json.loads(path.read_bytes()) if path.exists() else None
        return found

    def write(self, path: Path, content: Any) -> None:
        """JSON, whole or not at all."""
        _replace(path, json.dumps(content, indent=1))


def located(job: RLVRJob, folder: RunFolder) -> RLVRJob:
    """`job` with its checkpoints in the run's folder unless it says where."""
    if job.spec.checkpoint.uri is not None:
        return job
    checkpoint = job.spec.checkpoint.model_copy(update={"uri": folder.checkpoints.as_uri()})
    return job.model_copy(update={"spec": job.spec.model_copy(update={"checkpoint": checkpoint})})


def refuse_another_job(job: RLVRJob, stored: RLVRJob, *, folder: Path) -> None:
    """InvalidInput when `job` differs from the one the folder was made for in more than may change."""
    changed = tuple(changed_fields(job, stored))
    if changed:
        raise InvalidInput(
            f"{folder} holds a run of another job: {', '.join(changed)} changed. Undo the change, or choose a new "
            "folder with --dir. Steps, replicas, limits, the restart budget and retention may change."
        )


def changed_fields(job: RLVRJob, stored: RLVRJob) -> Iterable[str]:
    """What differs among the fields that a run was started with, with both values."""
    new, old = _frozen(job), _frozen(stored)
    for path in sorted(new.keys() | old.keys()):
        if new.get(path) != old.get(path):
            yield f"{path} ({_show(old, path)} -> {_show(new, path)})"


def _frozen(job: RLVRJob) -> dict[str, Any]:
    document = {"metadata.name": job.metadata.name}
    spec = job.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    del spec["training"][EXTENDABLE]
    return document | {
        path: value
        for path, value in _leaves(spec, "spec")
        if any(f"{path}.".startswith(f"spec.{frozen}.") for frozen in FROZEN_WHILE_RUNNING)
    }


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}")
    else:
        yield path, value


def _show(values: dict[str, Any], path: str) -> str:
    return json.dumps(values[path]) if path in values else "absent"


def _replace(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write `path` whole or not at all; nobody whom `mode` excludes can read it at any moment."""
    draft = path.with_name(f"{path.name}.tmp")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    draft.replace(path)
