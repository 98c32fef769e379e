"""How vLLM is started for a job: every argument with where it comes from.  Pure.

The same on one machine and in a pod; model, address and plug-ins are the caller's.  Made for vLLM 0.32; older ones have
no `--enable-scale-out`, without which the route that takes and gives tokens is closed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from rlvr_api.spec import RLVRJobSpec

OLDEST_VLLM: Final = (0, 29)
"""Weights with versions, pause that keeps requests, and versions per range of tokens begin here."""
GPU_MEMORY_SHARE: Final = 0.9
ENVIRONMENT: Final = {
    "VLLM_SERVER_DEV_MODE": "1",  # the routes that change weights exist only then
    "VLLM_NO_USAGE_STATS": "1",
}


class Argument(NamedTuple):
    """One argument of `vllm serve`."""

    flag: str
    value: str
    """Empty for a switch."""
    source: str


def vllm_arguments(spec: RLVRJobSpec, *, devices: int) -> tuple[Argument, ...]:
    """What vLLM is told about `spec`, on so many accelerators of one machine; on a CPU when there are none."""
    return (
        Argument("--dtype", spec.model.dtype, "spec.model.dtype"),
        *_context(spec),
        Argument("--max-num-seqs", str(spec.rollout.max_concurrent), "spec.rollout.maxConcurrent"),
        *(_on_accelerators(devices) if devices else _on_a_cpu()),
        Argument("--enable-scale-out", "", "opens the route that takes and gives tokens"),
        Argument("--scheduling-policy", "priority", "a probe of new weights is answered before what waits"),
        Argument("--logprobs-mode", "processed_logprobs", "of the distribution that is sampled from"),
        Argument("--generation-config", "vllm", "no sampling defaults of the model's own"),
        *_transfer(spec),
    )


def flags(arguments: Iterable[Argument]) -> list[str]:
    """As words of a command line."""
    return [word for argument in arguments for word in (argument.flag, argument.value) if word]


def _context(spec: RLVRJobSpec) -> Iterator[Argument]:
    if spec.model.max_context is not None:
        yield Argument("--max-model-len", str(spec.model.max_context), "spec.model.maxContext")


def _transfer(spec: RLVRJobSpec) -> Iterator[Argument]:
    if spec.rollout.weight_transfer == "nccl":
        yield Argument("--weight-transfer-config", '{"backend":"nccl"}', "spec.rollout.weightTransfer")


def _on_accelerators(devices: int) -> Iterator[Argument]:
    yield Argument("--tensor-parallel-size", str(devices), "accelerators of the engine: one replica spans all of them")
    yield Argument(
        "--gpu-memory-utilization", str(GPU_MEMORY_SHARE), "the rest is for new weights on their way in, layer by layer"
    )


def _on_a_cpu() -> Iterator[Argument]:
    yield Argument("--enforce-eager", "", "a CPU has no graphs to capture")
    # vLLM takes one draw back for every part of a prompt but the last, which a CPU's generator cannot do: the engine
    # dies.  After an update whatever is in flight is read again as one long prompt.
    yield Argument("--no-enable-chunked-prefill", "", "a seeded request that is read in parts kills vLLM on a CPU")
