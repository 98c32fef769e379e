"""One training step against a plain transformers + torch loop on the same batch: time, memory, positions that are pads.

Completion lengths are log-normal, as those of reasoning are: most short, few long.  Every measurement is a process of
its own, one step to warm up and then as many as asked for; the time is their median.  Memory is the peak resident size
beyond that of the process with model, optimizer and batch, before any step.  The baseline computes the padded passes of
the learner, so that what differs is the learner, not the batching; `packed` lays rows end to end.

The last line is one JSON object: `timeRatio` and `memoryRatio` are packed over plain; `cpuRatio` compares processor
seconds, which a busy machine changes less.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch

from learner_plain import PlainLoop, a_qwen2_folder, uneven_facts, waste
from learning import a_backend, a_dealing, a_recipe
from rlvr_trainer.learner.batching import Batch, build_batch
from rlvr_trainer.learner.microbatches import Deal, plan_step
from rlvr_trainer.learner.step import Method, take_step
from rlvr_trainer.learner.stopwatch import Stopwatch

SHAPE: Final[dict[str, Any]] = {
    "vocab_size": 32_000,
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
WAYS: Final = ("plain", "padded", "packed")


def resident_bytes(field: str) -> int:
    """VmRSS (now) or VmHWM (peak) of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def the_batch(options: argparse.Namespace) -> Batch:
    facts = uneven_facts(
        num_groups=options.groups, group_size=8, longest=options.longest, vocabulary=SHAPE["vocab_size"], prompt=16
    )
    return build_batch(facts, a_recipe(max_tokens=options.longest, preset="dapo"))


def whole_of(batch: Batch, options: argparse.Namespace, *, packs: bool) -> Deal:
    return plan_step(batch, a_dealing(token_budget=options.budget, packs=packs), step=1).whole


def step_of(options: argparse.Namespace) -> Callable[[], float]:
    """One step of the chosen way; returns the norm of its gradient."""
    batch, packs = the_batch(options), options.measure == "packed"
    if options.measure == "plain":
        loop = PlainLoop(Path(options.model), device="cpu", dtype=torch.float32)
        passes = whole_of(batch, options, packs=False).passes
        return lambda: loop.step(batch, passes)
    recipe = a_recipe(max_tokens=options.longest, preset="dapo")
    backend = a_backend(Path(options.model), packs=packs, max_grad_norm=1.0)
    method = Method(backend=backend, recipe=recipe, reference=None)

    def step() -> float:
        plan = plan_step(batch, a_dealing(token_budget=options.budget, packs=packs), step=1)
        return take_step(batch, plan, method, learning_rate=1e-6, watch=Stopwatch()).updates[0].gradient_norm

    return step


def measured(options: argparse.Namespace) -> dict[str, float]:
    step = step_of(options)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident_bytes("VmRSS")
    norm, seconds, cpu_seconds = step(), [], []
    for _ in range(options.rounds):
        started, used = time.perf_counter(), time.process_time()
        step()
        seconds.append(time.perf_counter() - started)
        cpu_seconds.append(time.process_time() - used)
    return {
        "seconds": statistics.median(seconds),
        "cpuSeconds": statistics.median(cpu_seconds),
        "bytes": resident_bytes("VmHWM") - before,
        "norm": norm,
    }


def in_a_child(way: str, model: Path, options: argparse.Namespace) -> dict[str, float]:
    settings = {**vars(options), "measure": way, "model": str(model)}
    command = [sys.executable, __file__, *(f"--{name}={value}" for name, value in settings.items())]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    print(f"{way:>8}: {figures}", flush=True)
    return figures


def compare(model: Path, options: argparse.Namespace) -> dict[str, Any]:
    plain, padded, packed = (in_a_child(way, model, options) for way in WAYS)
    batch = the_batch(options)
    lengths = (batch.prompt_lengths_B + batch.completion_lengths_B).tolist()
    wasted = [waste(lengths, whole_of(batch, options, packs=packs).passes, packs=packs) for packs in (False, True)]
    return {
        "timeRatio": round(packed["seconds"] / plain["seconds"], 3),
        "memoryRatio": round(packed["bytes"] / plain["bytes"], 3),
        "cpuRatio": round(packed["cpuSeconds"] / plain["cpuSeconds"], 3),
        "paddedTimeRatio": round(padded["seconds"] / plain["seconds"], 3),
        "paddedMemoryRatio": round(padded["bytes"] / plain["bytes"], 3),
        "paddedWaste": round(wasted[0], 3),
        "packedWaste": round(wasted[1], 3),
        "positions": sum(lengths),
        "plainSeconds": round(plain["seconds"], 2),
        "plainCpuSeconds": round(plain["cpuSeconds"], 2),
        "plainMegabytes": round(plain["bytes"] / 1e6),
        "normDifference": max(abs(one["norm"] / plain["norm"] - 1) for one in (padded, packed)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", choices=WAYS, help="one measurement in this process")
    parser.add_argument("--model", help="folder of the model, for --measure")
    for name, default in [("groups", 2), ("longest", 512), ("budget", 1024), ("rounds", 3), ("threads", 1)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure is not None:
        print(json.dumps(measured(options)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        found = compare(a_qwen2_folder(Path(folder), **SHAPE), options)
    print(json.dumps(found))
    return int(found["normDifference"] > 1e-3)


if __name__ == "__main__":
    sys.exit(main())
