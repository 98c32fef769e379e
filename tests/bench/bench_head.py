"""The fused log-probability head against dense logits: memory, time and accuracy, forward and backward, on the CPU.

Every measurement is one forward and backward in a process of its own, dense and fused in turn; figures are medians.
Memory is the peak resident size minus the size once the inputs exist, so it holds results and gradients too (the
weight's alone are 4 V H bytes).  Fused computes the logits twice, four matrix products to three; what it saves is
memory and the time to get memory.  `cpuRatio` compares processor seconds, which other processes disturb less.  The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

from rlvr_trainer.algorithms.logits import token_statistics

Head = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def dense(hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """The textbook way; both results are differentiable, as the fused ones are."""
    logits_NV = hidden_NH @ weight_VH.T
    logprob_NV = torch.log_softmax(logits_NV, -1)
    entropy_N = -(logprob_NV.exp() * logprob_NV).sum(-1)
    return logprob_NV.gather(1, targets_N[:, None])[:, 0], entropy_N


HEADS: dict[str, Head] = {"dense": dense, "fused": token_statistics}


def resident_bytes(field: str) -> int:
    """VmRSS (now) or VmHWM (peak) of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def inputs(options: argparse.Namespace) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    hidden_NH = torch.randn(options.tokens, options.width).requires_grad_()
    weight_VH = torch.randn(options.vocabulary, options.width).div_(options.width**0.5).requires_grad_()
    return hidden_NH, weight_VH, torch.randint(options.vocabulary, (options.tokens,))


def cost(head: Head, options: argparse.Namespace) -> dict[str, float]:
    """Wall and processor seconds and extra bytes of one forward and backward."""
    hidden_NH, weight_VH, targets_N = inputs(options)
    torch.autograd.backward(head(hidden_NH[:8], weight_VH[:64], targets_N[:8] % 64)[0].sum())
    hidden_NH.grad = weight_VH.grad = None
    Path("/proc/self/clear_refs").write_text("5")
    before, wall, cpu = resident_bytes("VmRSS"), time.perf_counter(), time.process_time()
    torch.autograd.backward(head(hidden_NH, weight_VH, targets_N)[0].mean())
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": seconds, "cpuSeconds": cpu_seconds, "bytes": resident_bytes("VmHWM") - before}


@torch.no_grad()
def accuracy(options: argparse.Namespace) -> dict[str, float]:
    """Largest entropy error against float64 over logits of standard deviation 1 to 12, four rows each."""
    _, weight_VH, targets_N = inputs(options)
    scale_N1 = torch.arange(1.0, 13.0).repeat(4)[:, None]
    hidden_NH, targets_N = torch.randn(48, options.width) * scale_N1, targets_N[:48]
    fused_N = token_statistics(hidden_NH, weight_VH, targets_N)[1]
    exact_N = dense(hidden_NH.double(), weight_VH.double(), targets_N)[1]
    return {"error": (fused_N - exact_N).abs().max().item()}


def in_a_child(what: str, options: argparse.Namespace) -> dict[str, float]:
    arguments = [f"--{name}={value}" for name, value in vars(options).items() if name != "measure"]
    command = [sys.executable, __file__, "--measure", what, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    print(f"{what:>8}: {figures}", flush=True)
    return figures


def compare(options: argparse.Namespace) -> dict[str, float]:
    runs = [{name: in_a_child(name, options) for name in HEADS} for _ in range(options.repeats)]
    middle = {head: {figure: median(run[head][figure] for run in runs) for figure in runs[0][head]} for head in HEADS}
    ratio = {figure: round(value / middle["dense"][figure], 4) for figure, value in middle["fused"].items()}
    return {
        "memoryRatio": ratio["bytes"],
        "timeRatio": ratio["seconds"],
        "cpuRatio": ratio["cpuSeconds"],
        "entropyErrorNats": in_a_child("accuracy", options)["error"],
        **{f"{head}{figure[0].upper()}{figure[1:]}": value for head in HEADS for figure, value in middle[head].items()},
        **{name: value for name, value in vars(options).items() if name != "measure"},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", choices=[*HEADS, "accuracy"], help="one measurement in this process")
    for name, default in [("tokens", 2048), ("width", 896), ("vocabulary", 151_936), ("threads", 2), ("repeats", 3)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure is None:
        print(json.dumps(compare(options)))
    elif options.measure == "accuracy":
        print(json.dumps(accuracy(options)))
    else:
        print(json.dumps(cost(HEADS[options.measure], options)))


if __name__ == "__main__":
    main()
