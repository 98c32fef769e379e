"""Learner processes as `rlvr run` starts them, beside a coordinator that left its batches beforehand."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from rlvr_trainer.samples import StepReport
from rlvr_trainer.storage.policies import newest_policies
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.wire import from_json


class Learner(subprocess.Popen[bytes]):
    """A learner process whose words are kept in a file; `by` is a module, with its options, that starts it."""

    def __init__(self, place: Surroundings, by: Sequence[str] = (), **more: str) -> None:
        self.log = place.job.parent / f"learner-{place.attempt}.log"
        environment = {
            "RLVR_JOB": str(place.job),
            "RLVR_DIR": str(place.folder),
            "RLVR_TOKEN_FILE": str(place.token_file),
            "RLVR_ATTEMPT": str(place.attempt),
            "OMP_NUM_THREADS": "1",
            **more,
        }
        with self.log.open("wb") as words:
            super().__init__(
                [sys.executable, *(("-m", *by) if by else ()), "-m", "rlvr_trainer", "learner"],
                env={**os.environ, **environment},
                stderr=words,
                stdout=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def stderr_text(self) -> str:
        return self.log.read_text()


def wait_for(question: Callable[[], bool], process: Learner, *, seconds: float = 200) -> None:
    """Until `question` is answered by yes; a process that lets us down is not left behind."""
    ends = time.monotonic() + seconds
    while not question():
        assert process.poll() is None, process.stderr_text()
        if time.monotonic() > ends:
            process.kill()
            process.wait()
            pytest.fail(f"not true after {seconds} s: {process.stderr_text()}")
        time.sleep(0.01)


def report_path(place: Surroundings, step: int) -> Path:
    return place.attempt_folder / "reports" / f"{step:06d}.json"


def reports_of(place: Surroundings) -> list[StepReport]:
    paths = sorted((place.attempt_folder / "reports").glob("*.json"))
    return [from_json(path.read_bytes(), StepReport) for path in paths]


def published(place: Surroundings) -> dict[str, Tensor]:
    """Weights of the newest policy."""
    folder = place.folder / "policies"
    return load_file(folder / newest_policies(folder)[0] / "model.safetensors")


def ranks_of(launcher: Learner) -> dict[int, int]:
    """Rank -> process id of the launcher's children."""
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    found = {}
    for child in map(int, children):
        variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        rank = next((word for word in variables if word.startswith(b"RANK=")), None)
        if rank is not None:
            found[int(rank.removeprefix(b"RANK="))] = child
    return found
