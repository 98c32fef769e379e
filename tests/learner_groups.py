"""Ranks that train side by side, as torchrun would start them, and the same training in this process.

    python learner_groups.py ERRANDS        run by each rank: ERRANDS is a JSON list of what is done one after the other

Only what a step needs is there: no launcher, no exchange with a coordinator.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from safetensors.torch import load_file, save_file
from torch import Tensor

from learning import a_learner_job, random_facts
from rlvr_api import RLVRJobSpec
from rlvr_trainer.learner.app import prepare_torch
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.joining import joined
from rlvr_trainer.learner.microbatches import Dealing, plan_step
from rlvr_trainer.learner.opening import open_method
from rlvr_trainer.learner.ranks import Ranks
from rlvr_trainer.learner.step import Method, take_step
from rlvr_trainer.learner.stopwatch import Stopwatch
from role_processes import free_port

RATE: Final = 1e-3
BUDGET: Final = 128
"""A pass or two for the rows of a rank."""
LOSSES_IN_BFLOAT16: Final = 0.06
"""How far losses may be from those in float32: bfloat16 has 8 bits, and they are between -0.5 and 0.5."""


@dataclass(frozen=True, kw_only=True)
class Errand:
    """Some steps of a job, by one backend."""

    model: str
    result: str
    """Folder for what rank 0 found."""
    stage: int = 0
    """Of ZeRO; 0 is the local backend."""
    packs: bool = False
    recomputes: bool = False
    offload: str = "none"
    dtype: str = "float32"
    rate: float = RATE
    preset: str = "dapo"
    lora: dict[str, Any] | None = None
    first: int = 1
    last: int = 10
    load: str = ""
    save: str = ""
    save_after: int = 0
    """Step after which `save` is written; 0: the last."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What an errand came to."""

    losses: list[float]
    norms: list[float]
    offloads: bool
    """Whether DeepSpeed says that the optimizer's state is in host memory."""
    weights: dict[str, Tensor]


def spec_of(errand: Errand, *, ranks: int) -> RLVRJobSpec:
    backend: dict[str, Any] = {"local": {}}
    if errand.stage:
        backend = {"deepspeed": {"zeroStage": errand.stage, "offload": errand.offload}}
    training = {
        "steps": 10,
        "promptsPerStep": 4,
        "groupSize": 4,
        "minibatches": 2,
        "tokenBudget": BUDGET,
        "packing": errand.packs,
        "activationCheckpointing": errand.recomputes,
        "optimizer": {"learningRate": errand.rate},
        "lora": errand.lora,
    }
    return a_learner_job(
        Path(errand.model),
        "file:///nowhere",
        model={"path": errand.model, "dtype": errand.dtype},
        algorithm={"preset": errand.preset},
        training=training,
        learner={"nodes": 1, "gpusPerNode": ranks if errand.stage else 0, "backend": backend},
    ).spec


def run(errand: Errand, method: Method) -> None:
    """Train, and leave what was found in `errand.result`."""
    losses, norms, ranks = [], [], method.ranks
    if errand.load:
        method.backend.load(Path(errand.load))
    for step in range(errand.first, errand.last + 1):
        batch = build_batch(random_facts(step), method.recipe)
        dealing = Dealing(minibatches=2, epochs=1, seed=0, token_budget=BUDGET, packs=errand.packs)
        plan = plan_step(batch, dealing, step=step, ranks=ranks)
        found = take_step(batch, plan, method, learning_rate=errand.rate, watch=Stopwatch())
        losses += [update.loss for update in found.updates]
        norms += [update.gradient_norm for update in found.updates]
        if errand.save and step == (errand.save_after or errand.last):
            save(errand, method, ranks)
    weights, adapter = method.backend.weights(), method.backend.adapter()
    if ranks.rank == 0:
        folder = Path(errand.result)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / "weights.safetensors")
        if adapter is not None:
            adapter.write(folder / "adapter")
        found_here = {"losses": losses, "norms": norms, "offloads": offloads(method.backend)}
        (folder / "found.json").write_text(json.dumps(found_here))


def offloads(backend: Any) -> bool:
    return hasattr(backend, "_engine") and bool(backend._engine.zero_cpu_offload())


def save(errand: Errand, method: Method, ranks: Ranks) -> None:
    folder = Path(errand.save)
    folder.mkdir(parents=True, exist_ok=True)
    ranks.meet()
    method.backend.save(folder)
    ranks.meet()


def found_of(errand: Errand) -> Trained:
    folder = Path(errand.result)
    known = json.loads((folder / "found.json").read_text())
    return Trained(**known, weights=load_file(folder / "weights.safetensors"))


def train_here(errand: Errand) -> Trained:
    """The local backend, in this process."""
    run(errand, open_method(spec_of(errand, ranks=1)))
    return found_of(errand)


def train_group(errands: Sequence[Errand], *, ranks: int, seconds: float = 1500, **more: str) -> list[Trained]:
    """So many ranks do the errands one after the other; `more` is added to their environment."""
    told = json.dumps([asdict(errand) for errand in errands])
    port = str(free_port())
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, told],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parent),
                "OMP_NUM_THREADS": "1",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "WORLD_SIZE": str(ranks),
                "LOCAL_WORLD_SIZE": str(ranks),
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                **more,
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(ranks)
    ]
    try:
        said = [process.communicate(timeout=seconds)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, words in zip(processes, said, strict=True):
        assert process.returncode == 0, words[-5000:]
    return [found_of(errand) for errand in errands]


def difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Largest, over all weights."""
    assert one.keys() == other.keys()
    return max(float((one[name].float() - other[name].float()).abs().max()) for name in one)


def main() -> None:
    prepare_torch(seed=0)
    errands = [Errand(**told) for told in json.loads(sys.argv[1])]
    size = int(os.environ["WORLD_SIZE"])
    with joined(spec_of(errands[0], ranks=size), os.environ) as ranks:
        for errand in errands:
            run(errand, open_method(spec_of(errand, ranks=size), ranks))


if __name__ == "__main__":
    main()
