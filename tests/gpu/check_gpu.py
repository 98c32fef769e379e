"""What only a GPU can show of the learner, in four minutes: one line of JSON per check, exit status 1 when one fails.

    PYTHONPATH=crds:operator:trainer:tests python tests/gpu/check_gpu.py

It needs one CUDA GPU with 40 GiB or more, torch, transformers, numpy, pydantic and msgspec, and no network.  Every
figure is of this machine and this run; ratios are ours over the baseline's.

    head           fused log-probability and entropy against dense logits: numbers, memory, time
    step           a training step here against the same step on the CPU, padded and packed
    recomputing    memory of activation checkpointing on a row of 4,096 tokens
    loop           time and memory of a step against a plain transformers + torch loop
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from torch import Tensor

from learner_plain import PlainLoop, a_qwen2_folder, uneven_facts, waste
from learning import a_completion, a_dealing, a_recipe, a_scored_group, facts_of, random_facts
from rlvr_api import OptimizerSpec
from rlvr_trainer.algorithms.logits import token_statistics
from rlvr_trainer.learner.backends.local import LocalBackend, make_optimizer
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.microbatches import plan_step
from rlvr_trainer.learner.models import load_policy
from rlvr_trainer.learner.step import Findings, Method, take_step
from rlvr_trainer.learner.stopwatch import Stopwatch
from rlvr_trainer.samples import Outcome, StepFacts

HALF_BILLION: Final[dict[str, Any]] = {
    "vocab_size": 151_936,
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32_768,
}
"""The shape of Qwen2.5-0.5B."""
SMALL: Final[dict[str, Any]] = {
    "vocab_size": 4096,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.1,
}
LONGEST: Final = 4096
Found = dict[str, Any]
Line = tuple[bool, Found]


def cost(work: Callable[[], Any], *, rounds: int = 3) -> tuple[float, int]:
    """Median seconds and peak bytes beyond what was there; the first round warms up."""
    seconds: list[float] = []
    work()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds), torch.cuda.max_memory_allocated() - before


# --- head -------------------------------------------------------------------------------------------------------------


def dense(hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """The textbook way, logits in float32 as every loop has them."""
    logprob_NV = (hidden_NH @ weight_VH.T).float().log_softmax(-1)
    entropy_N = -(logprob_NV.exp() * logprob_NV).sum(-1)
    return logprob_NV.gather(1, targets_N[:, None])[:, 0], entropy_N


def head_inputs(dtype: torch.dtype, *, tokens: int = 8192) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator("cuda").manual_seed(0)

    def noise(*size: int) -> Tensor:
        return torch.randn(*size, device="cuda", generator=generator)

    width, vocabulary = HALF_BILLION["hidden_size"], HALF_BILLION["vocab_size"]
    hidden_NH = (3 * noise(tokens, width)).to(dtype).requires_grad_()
    weight_VH = (noise(vocabulary, width) / width**0.5).to(dtype).requires_grad_()
    return hidden_NH, weight_VH, torch.randint(vocabulary, (tokens,), device="cuda", generator=generator)


def with_gradients(head: Any, inputs: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
    """Log-probability, entropy, and the gradients of hidden states and weight."""
    hidden_NH, weight_VH, _ = inputs
    hidden_NH.grad = weight_VH.grad = None
    logprob_N, entropy_N = head(*inputs)
    torch.autograd.backward(logprob_N.sum() + 0.1 * entropy_N.sum())
    assert hidden_NH.grad is not None and weight_VH.grad is not None
    return [logprob_N.detach(), entropy_N.detach(), hidden_NH.grad, weight_VH.grad]


def relative(found: Tensor, exact: Tensor) -> float:
    """Distance over length."""
    return float((found.double() - exact.double()).norm() / exact.double().norm())


def check_head(dtype: torch.dtype) -> Line:
    """Numbers against dense logits of the same inputs in float64, on fewer tokens; costs on all."""
    few = head_inputs(dtype, tokens=512)
    fused = with_gradients(token_statistics, few)
    exact = [part.double().detach().requires_grad_() for part in few[:2]]
    wanted = with_gradients(in_float64, (exact[0], exact[1], few[2]))
    largest = [float((fused[k].double() - wanted[k]).abs().max()) for k in (0, 1)]
    gradients = [relative(fused[k], wanted[k]) for k in (2, 3)]
    del few, fused, exact, wanted
    inputs = head_inputs(dtype)
    (slow, many), (fast, less) = (cost(partial(with_gradients, head, inputs)) for head in (dense, token_statistics))
    ok = max(largest) < 1e-3 and max(gradients) < (1e-4 if dtype is torch.float32 else 2e-2) and less < many
    return ok, {
        "dtype": str(dtype),
        "logprobError": largest[0],
        "entropyError": largest[1],
        "hiddenGradientError": gradients[0],
        "weightGradientError": gradients[1],
        "timeRatio": fast / slow,
        "memoryRatio": less / many,
        "denseSeconds": slow,
        "denseBytes": many,
    }


def in_float64(hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    logprob_NV = (hidden_NH @ weight_VH.T).log_softmax(-1)
    entropy_N = -(logprob_NV.exp() * logprob_NV).sum(-1)
    return logprob_NV.gather(1, targets_N[:, None])[:, 0], entropy_N


# --- step -------------------------------------------------------------------------------------------------------------


def a_backend(
    folder: Path, device: str, dtype: torch.dtype, *, packs: bool = False, recomputes: bool = False, sgd: bool = False
) -> LocalBackend:
    policy = load_policy(folder, temperature=1.0, packs=packs, recomputes=recomputes).to(device)
    optimizer = torch.optim.SGD(policy.parameters()) if sgd else make_optimizer(policy.parameters(), OptimizerSpec())
    return LocalBackend(policy, optimizer, dtype=dtype, max_grad_norm=1.0)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a step is taken."""

    budget: int
    packs: bool = False
    preset: str = "dapo"
    minibatches: int = 1
    rate: float = 1e-6


def take(backend: LocalBackend, facts: StepFacts, way: Way) -> Findings:
    recipe = a_recipe(max_tokens=LONGEST, preset=way.preset)
    batch = build_batch(facts, recipe).to(backend.device)
    dealing = a_dealing(minibatches=way.minibatches, token_budget=way.budget, packs=way.packs)
    method = Method(backend=backend, recipe=recipe, reference=None)
    return take_step(batch, plan_step(batch, dealing, step=1), method, learning_rate=way.rate, watch=Stopwatch())


def check_step(folder: Path, dtype: torch.dtype, *, packs: bool) -> Line:
    """Two steps of two updates each by plain gradient descent: later updates clip and have ratios beside 1.

    In float32 tokens are selected by entropy; bfloat16 would select others.
    """
    exact = dtype is torch.float32
    start, ends, losses = {}, [], []
    for device, precision, layout in (("cpu", torch.float32, False), ("cuda", dtype, packs)):
        way = Way(budget=100, packs=layout, preset="highEntropy20" if exact else "dapo", minibatches=2, rate=0.1)
        backend = a_backend(folder, device, precision, packs=layout, sgd=True)
        start = masters(backend)
        found = [take(backend, random_facts(step), way) for step in (1, 2)]
        losses.append([update.loss for findings in found for update in findings.updates])
        ends.append(masters(backend))
    moved, error = whole(ends[0], start), whole(ends[1], ends[0])
    largest = max(abs(one - other) for one, other in zip(*losses, strict=True))
    share = float(error.norm() / moved.norm())
    return largest < (1e-5 if exact else 5e-2) and share < (1e-3 if exact else 0.3), {
        "dtype": str(dtype),
        "packed": packs,
        "lossDifference": largest,
        "weightDifference": float(error.abs().max()),
        "relativeToMovement": share,
    }


def masters(backend: LocalBackend) -> dict[str, Tensor]:
    """The weights that are trained; those that are published are rounded in bfloat16."""
    return {name: weight.detach().to("cpu", copy=True) for name, weight in backend._named.items()}


def whole(first: dict[str, Tensor], second: dict[str, Tensor]) -> Tensor:
    """All differences in one vector."""
    return torch.cat([(first[name] - second[name]).flatten() for name in first])


# --- memory and time --------------------------------------------------------------------------------------------------


def check_recomputing(folder: Path) -> Line:
    """One row of 4,096 tokens, bfloat16."""
    found, way = [], Way(budget=LONGEST)
    for recomputes in (False, True):
        work = partial(take, a_backend(folder, "cuda", torch.bfloat16, recomputes=recomputes), one_long_row(), way)
        norm = work().updates[0].gradient_norm
        found.append((norm, *cost(work)))
        del work
        torch.cuda.empty_cache()
    (norm, seconds, peak), (norm_again, slower, lower) = found
    return lower < 0.6 * peak and abs(norm_again / norm - 1) < 1e-2, {
        "memoryRatio": lower / peak,
        "timeRatio": slower / seconds,
        "keptBytes": peak,
        "gradientNormRatio": norm_again / norm,
    }


def one_long_row() -> StepFacts:
    """A right completion of as many tokens as fit beside a wrong one of a single token."""
    completions = [a_completion([7 * place % 32_000 for place in range(LONGEST - 32)]), a_completion([5])]
    return facts_of(1, [a_scored_group(0, completions, [Outcome.CORRECT, Outcome.WRONG], prompt=range(32))])


def check_loop(folder: Path, *, budget: int = 8192) -> Line:
    """24 rows, long-tailed; the plain loop gets the padded passes."""
    facts = uneven_facts(num_groups=3, group_size=8, longest=LONGEST - 32, vocabulary=32_000)
    batch = build_batch(facts, a_recipe(max_tokens=LONGEST, preset="dapo")).to(torch.device("cuda"))
    lengths = (batch.prompt_lengths_B + batch.completion_lengths_B).tolist()
    padded, packed = (
        plan_step(batch, a_dealing(token_budget=budget, packs=packs), step=1).whole.passes for packs in (False, True)
    )
    plain: Callable[[], Any] = partial(PlainLoop(folder, device="cuda", dtype=torch.bfloat16).step, batch, padded)
    norms, figures = [plain()], {"plain": cost(plain)}
    del plain
    for name in ("padded", "packed"):
        torch.cuda.empty_cache()
        way = Way(budget=budget, packs=name == "packed")
        work = partial(take, a_backend(folder, "cuda", torch.bfloat16, packs=way.packs), facts, way)
        norms.append(work().updates[0].gradient_norm)
        figures[name] = cost(work)
        del work
    seconds, peak = figures["plain"]
    ratios = {name: {"time": ours / seconds, "memory": less / peak} for name, (ours, less) in figures.items()}
    close = all(abs(norm / norms[0] - 1) < 5e-2 for norm in norms)
    return close and ratios["packed"]["memory"] < 1, {
        "timeRatio": ratios["packed"]["time"],
        "memoryRatio": ratios["packed"]["memory"],
        "paddedTimeRatio": ratios["padded"]["time"],
        "paddedMemoryRatio": ratios["padded"]["memory"],
        "paddedWaste": waste(lengths, padded, packs=False),
        "packedWaste": waste(lengths, packed, packs=True),
        "plainSeconds": seconds,
        "plainBytes": peak,
        "positions": sum(lengths),
        "gradientNorms": [round(norm, 4) for norm in norms],
    }


# --- all of them ------------------------------------------------------------------------------------------------------


def checks(folder: Path) -> Iterable[tuple[str, Callable[[], Line]]]:
    dtypes = (torch.float32, torch.bfloat16)
    yield from (("head", partial(check_head, dtype)) for dtype in dtypes)
    small = a_qwen2_folder(folder / "small", **SMALL)
    yield from (("step", partial(check_step, small, dtype, packs=packs)) for dtype in dtypes for packs in (False, True))
    large = a_qwen2_folder(folder / "large", device="cuda", **HALF_BILLION)
    yield "recomputing", partial(check_recomputing, large)
    yield "loop", partial(check_loop, large)


def run(name: str, check: Callable[[], Line]) -> bool:
    """Print what the check found, or how it failed; either way the next one runs."""
    started = time.perf_counter()
    try:
        ok, found = check()
    except Exception as error:  # noqa: BLE001 - one check that cannot run says nothing about the next
        ok, found = False, {"error": f"{type(error).__name__}: {error}", "at": traceback.format_exc().splitlines()[-6:]}
    torch.cuda.empty_cache()
    seconds = round(time.perf_counter() - started, 1)
    print(json.dumps({"check": name, "ok": ok, **rounded(found), "seconds": seconds}), flush=True)
    return ok


def rounded(found: Found) -> Found:
    return {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in found.items()}


def main() -> int:
    if not torch.cuda.is_available():
        print("no CUDA GPU here", file=sys.stderr)
        return 2
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    print(json.dumps({"machine": torch.cuda.get_device_name(), **versions}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        results = [run(name, check) for name, check in checks(Path(folder))]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
