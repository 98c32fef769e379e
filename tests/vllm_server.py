"""A real vLLM on this machine's CPU, started as `rlvr run` starts it.

One at a time, whichever test process wants it: two that start at once want more memory and processor than there is.
"""

import contextlib
import fcntl
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builders import a_job_dict
from rlvr_trainer.models import builtin_path
from role_processes import Role, await_answer, running
from tiny_models import write_model

START_SECONDS = 600
PATIENCE = 1500
"""Seconds a test may take that starts one, or waits for another's to end."""
HEADS: dict[str, Any] = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32}
"""vLLM's attention on a CPU wants heads of 32."""


@dataclass(frozen=True)
class Served:
    """A running vLLM and two policies it can load; it starts with the first."""

    role: Role
    policies: tuple[Path, Path]


def write_servable(folder: Path, *, seed: int, **changes: Any) -> Path:
    """A model with random weights that vLLM serves on a CPU: with a tokenizer, though nobody uses it."""
    write_model(folder, seed=seed, **HEADS, **changes)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(builtin_path("arithmetic") / name, folder / name)
    return folder


@contextlib.contextmanager
def a_vllm(folder: Path, *, max_concurrent: int = 64, **changes: Any) -> Iterator[Served]:
    """One with a tiny model, until the block ends; the test is skipped where vLLM is missing."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is missing: make setup-vllm")
    policies = [write_servable(folder / f"p{seed}", seed=seed, **changes) for seed in (0, 1)]
    job = a_job_dict(model={"path": str(policies[0])}, rollout={"engine": "vllm", "maxConcurrent": max_concurrent})
    with alone(), running("vllm", job, folder / "role") as role:
        await_answer(role, seconds=START_SECONDS)
        try:
            yield Served(role, (policies[0], policies[1]))
        finally:
            role.process.terminate()  # asked, it ends with all its processes
            role.process.wait(30)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """No other vLLM of any test process runs while the block does."""
    with (Path(tempfile.gettempdir()) / "rlvr-tests-vllm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
