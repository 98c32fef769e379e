"""What an attempt must know to go on exactly where another stopped, as files of a checkpoint.

    model.safetensors, optimizer.pt   the local backend's
    state-R-of-N.safetensors          DeepSpeed's, one of each rank (shards.py)
    base.sha256                       with adapters, which alone are stored then: the weights they belong to
    rng.pt                            torch's random state
    coordinator.json                  CoordinatorState of the step
    history.jsonl                     one StepReport per finished step
    probe.safetensors                 tokens that are compared with the base model, once there are any

Read and written for one step boundary; who stores the files, and where, is not known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from rlvr_trainer.learner.backends.base import Backend
from rlvr_trainer.learner.probe import Probe, load_probe, save_probe
from rlvr_trainer.samples import CoordinatorState, StepReport
from rlvr_trainer.wire import from_json, to_json

RANDOM: Final = "rng.pt"
COORDINATOR: Final = "coordinator.json"
HISTORY: Final = "history.jsonl"
PROBE: Final = "probe.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """The end of a step; what is not in the backend."""

    step: int = 0
    state: CoordinatorState = field(default_factory=CoordinatorState)
    history: tuple[StepReport, ...] = ()
    probe: Probe | None = None


def save_boundary(folder: Path, boundary: Boundary) -> None:
    """Write every file of the checkpoint but the backend's into `folder`."""
    torch.save(_random_state(), folder / RANDOM)
    (folder / COORDINATOR).write_bytes(to_json(boundary.state))
    (folder / HISTORY).write_bytes(b"".join(to_json(report) + b"\n" for report in boundary.history))
    if boundary.probe is not None:
        save_probe(folder / PROBE, boundary.probe)


def load_boundary(folder: Path, backend: Backend, *, step: int) -> Boundary:
    """Bring `backend` and torch's random state to the end of `step`; returns the rest."""
    backend.load(folder)
    _restore_random_state(torch.load(folder / RANDOM, weights_only=True))
    lines = (folder / HISTORY).read_bytes().splitlines()
    return Boundary(
        step=step,
        state=from_json((folder / COORDINATOR).read_bytes(), CoordinatorState),
        history=tuple(from_json(line, StepReport) for line in lines),
        probe=load_probe(folder / PROBE) if (folder / PROBE).exists() else None,
    )


def _random_state() -> dict[str, Any]:
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}


def _restore_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
