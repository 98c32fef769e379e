"""The learner's side of the attempt's folder that it shares with the coordinator.

    resume.json            written once: where this attempt begins
    batches/000018.facts   read: what step 18 trains on
    reports/000018.json    written before policy 18 is
    microscope/step-000018.json   a few of the step's answers, token by token
    checkpoint.json        the newest checkpoint and trouble with the next one, replaced at every change

Files appear whole: each is renamed into place.  Only rank 0 sees the folder; it tells the others what it read.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Final

import torch

from rlvr_api import CheckpointProgress
from rlvr_trainer.errors import CorruptArtifact
from rlvr_trainer.learner.microscope import Magnified
from rlvr_trainer.learner.ranks import ALONE, Ranks
from rlvr_trainer.learner.state import Boundary
from rlvr_trainer.learner.stopping import Stop, StopRequested
from rlvr_trainer.samples import StepFacts, StepReport
from rlvr_trainer.wire import to_json, unpack

_POLL_SECONDS: Final = 0.01
_ROUND_SECONDS: Final = 1.0
"""Several ranks agree so often that nothing is there yet: a wait for rollouts is no hang."""


class Exchange:
    """Where the learner leaves and finds things."""

    def __init__(self, folder: Path, *, stop: Stop, ranks: Ranks = ALONE) -> None:
        self._folder = folder
        self._stop = stop
        self._ranks = ranks

    def announce(self, boundary: Boundary) -> None:
        """Tell the coordinator where this attempt begins."""
        self._write("resume.json", to_json({"step": boundary.step, "state": boundary.state}))

    def take(self, step: int) -> StepFacts:
        """The facts of `step` as soon as they are there; StopRequested when the learner should end instead."""
        path = self._batch(step)
        while not self._agree(path):
            pass
        facts = unpack(self._ranks.tell(path.read_bytes() if self._speaks else b""), StepFacts)
        if facts.step != step:
            raise CorruptArtifact(f"{path} holds the facts of step {facts.step}.")
        return facts

    def report(self, report: StepReport) -> None:
        self._write(f"reports/{report.step:06d}.json", to_json(report))

    def magnify(self, seen: Magnified) -> None:
        self._write(f"microscope/step-{seen.step:06d}.json", to_json(seen))

    def tell_checkpoint(self, progress: CheckpointProgress) -> None:
        self._write("checkpoint.json", progress.model_dump_json(by_alias=True).encode())

    def told_checkpoint(self) -> bytes:
        """What was told of checkpoints last, as JSON; empty when nothing was."""
        path = self._folder / "checkpoint.json"
        return path.read_bytes() if path.exists() else b""

    def set_aside(self, step: int) -> Path:
        """Keep the facts of `step` where no later attempt overwrites or deletes them; returns the copy's path."""
        kept = self._folder / "diverged" / f"{step:06d}.facts"
        if self._speaks:
            kept.parent.mkdir(exist_ok=True)
            shutil.copyfile(self._batch(step), kept)
        return kept

    @property
    def _speaks(self) -> bool:
        return self._ranks.rank == 0

    def _agree(self, path: Path) -> bool:
        """Whether `path` is there by now; StopRequested on all ranks when any of them was asked to stop."""
        is_there = self._speaks and self._appears(path)
        asked, there = self._ranks.add(torch.tensor([self._stop.is_asked, is_there], dtype=torch.int64)).tolist()
        if asked:
            raise StopRequested
        return bool(there)

    def _appears(self, path: Path) -> bool:
        """Look for up to a round, or until asked to stop."""
        ends = time.monotonic() + _ROUND_SECONDS
        while not (found := path.exists()) and not self._stop.is_asked and time.monotonic() < ends:
            time.sleep(_POLL_SECONDS)
        return found

    def _batch(self, step: int) -> Path:
        return self._folder / "batches" / f"{step:06d}.facts"

    def _write(self, name: str, data: bytes) -> None:
        if self._speaks:
            write_renamed(self._folder / name, data)


def write_renamed(path: Path, data: bytes) -> None:
    """Write a file that readers see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_bytes(data)
    draft.replace(path)
