"""The fused log-probability head against dense logits: memory, time and accuracy, forward and backward, on the CPU.

Every measurement is one forward and backward in a process of its own, dense and fused in turn.
Memory is the peak resident size minus the size once the inputs exist, so it holds results and gradients too (the
weight's alone are 4 V H bytes).

Fused computes the logits twice, so it does four matrix products for dense's three.  What it saves is memory, and the
time that getting memory takes, which differs much: a virtual machine that touches pages for the first time is several
times slower than one that has them.  Therefore `timeRatio` is that of the first pair of processes, with both results in
the loss; `logprobOnly` is the pair after that, on memory the machine already has, without the entropy's gradient: the
least that fused can win.  The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

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
    logprob_N, entropy_N = head(hidden_NH, weight_VH, targets_N)
    torch.autograd.backward(logprob_N.mean() + 0.01 * entropy_N.mean() if options.bonus else logprob_N.mean())
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


def in_a_child(what: str, options: argparse.Namespace, **changed: int) -> dict[str, float]:
    settings = {**vars(options), **changed, "measure": what}
    command = [sys.executable, __file__, *(f"--{name}={value}" for name, value in settings.items())]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    figures: dict[str, float] = json.loads(done.stdout)
    print(f"{what:>8}: {figures}", flush=True)
    return figures


def ratios(options: argparse.Namespace, *, bonus: int) -> dict[str, float]:
    """Fused over dense, and what both took."""
    dense_cost, fused_cost = (in_a_child(name, options, bonus=bonus) for name in ("dense", "fused"))
    return {
        "memoryRatio": round(fused_cost["bytes"] / dense_cost["bytes"], 4),
        "timeRatio": round(fused_cost["seconds"] / dense_cost["seconds"], 4),
        "cpuRatio": round(fused_cost["cpuSeconds"] / dense_cost["cpuSeconds"], 4),
        **{f"dense{name[0].upper()}{name[1:]}": value for name, value in dense_cost.items()},
        **{f"fused{name[0].upper()}{name[1:]}": value for name, value in fused_cost.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", choices=[*HEADS, "accuracy"], help="one measurement in this process")
    for name, default in [("tokens", 2048), ("width", 896), ("vocabulary", 151_936), ("threads", 2), ("bonus", 1)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure == "accuracy":
        print(json.dumps(accuracy(options)))
    elif options.measure is not None:
        print(json.dumps(cost(HEADS[options.measure], options)))
    else:
        headline, least = ratios(options, bonus=1), ratios(options, bonus=0)
        error = in_a_child("accuracy", options)["error"]
        sizes = {name: getattr(options, name) for name in ("tokens", "width", "vocabulary", "threads")}
        print(json.dumps({**headline, "entropyErrorNats": error, "logprobOnly": least, **sizes}))


if __name__ == "__main__":
    main()
