"""The learner's side of the attempt's folder that it shares with the coordinator.

    resume.json            written once: where this attempt begins
    batches/000018.facts   read: what step 18 trains on
    reports/000018.json    written before policy 18 is
    microscope/step-000018.json   a few of the step's answers, token by token
    checkpoint.json        the newest checkpoint and trouble with the next one, replaced at every change

Files appear whole: each is renamed into place.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

from rlvr_api import CheckpointProgress
from rlvr_trainer.errors import CorruptArtifact
from rlvr_trainer.learner.microscope import Magnified
from rlvr_trainer.learner.state import Boundary
from rlvr_trainer.learner.stopping import Stop
from rlvr_trainer.samples import StepFacts, StepReport
from rlvr_trainer.wire import to_json, unpack

_POLL_SECONDS: Final = 0.01


class Exchange:
    """Where the learner leaves and finds things."""

    def __init__(self, folder: Path, *, stop: Stop) -> None:
        self._folder = folder
        self._stop = stop

    def announce(self, boundary: Boundary) -> None:
        """Tell the coordinator where this attempt begins."""
        write_renamed(self._folder / "resume.json", to_json({"step": boundary.step, "state": boundary.state}))

    def take(self, step: int) -> StepFacts:
        """The facts of `step` as soon as they are there; StopRequested when the learner should end instead."""
        path = self._batch(step)
        self._stop.check()
        while not path.exists():
            self._stop.check()
            time.sleep(_POLL_SECONDS)
        facts = unpack(path.read_bytes(), StepFacts)
        if facts.step != step:
            raise CorruptArtifact(f"{path} holds the facts of step {facts.step}.")
        return facts

    def report(self, report: StepReport) -> None:
        write_renamed(self._folder / "reports" / f"{report.step:06d}.json", to_json(report))

    def magnify(self, seen: Magnified) -> None:
        write_renamed(self._folder / "microscope" / f"step-{seen.step:06d}.json", to_json(seen))

    def tell_checkpoint(self, progress: CheckpointProgress) -> None:
        write_renamed(self._folder / "checkpoint.json", progress.model_dump_json(by_alias=True).encode())

    def set_aside(self, step: int) -> Path:
        """Keep the facts of `step` where no later attempt overwrites or deletes them; returns the copy's path."""
        kept = self._folder / "diverged" / f"{step:06d}.facts"
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(self._batch(step), kept)
        return kept

    def _batch(self, step: int) -> Path:
        return self._folder / "batches" / f"{step:06d}.facts"


def write_renamed(path: Path, data: bytes) -> None:
    """Write a file that readers see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_bytes(data)
    draft.replace(path)
