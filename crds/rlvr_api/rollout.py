"""Replicas that sample completions."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rlvr_api.base import Model, Rule
from rlvr_api.quantities import Count, NonNegative, PodTemplate, Positive, Temperature


class ForkingTemperatures(Model):
    """Two sampling temperatures: one where the policy is undecided, one elsewhere (2506.01939, eq. 5)."""

    threshold: NonNegative = 0.672
    """Entropy in nats, at temperature 1, strictly above which a token forks.  Default: the 80th percentile of Qwen3-8B
    on AIME; small models need their own."""
    temperature: Temperature = 1.0
    """Sampling temperature of forking tokens; 0 takes the most likely one."""
    other_temperature: Temperature = 1.0
    """Sampling temperature of all other tokens; 0 takes the most likely one."""


class SamplingSpec(Model):
    """How a completion is sampled."""

    temperature: Annotated[Temperature, Field(gt=0)] = 1.0
    """Logits are divided by it, in sampling and in training."""
    forking: ForkingTemperatures | None = None
    """Sample with two temperatures instead; `temperature` stays that of the policy that is trained.  Needs engine local
    and algorithm.importanceSampling."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Nucleus sampling; below 1, log-probabilities are of the truncated distribution."""
    top_k: Annotated[int, Field(ge=-1)] = -1
    """Sample among the k most likely tokens; -1 means all."""
    max_tokens: Positive = 4096
    """Longest completion."""
    stop_token_ids: Annotated[tuple[Count, ...], Field(strict=False, max_length=64)] = ()
    """Further tokens that end a completion, beside the model's own."""


class RolloutSpec(Model):
    """Replicas that sample completions: one engine and its agent each."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.min) || self.min <= self.replicas",
            message="replicas {replicas} is below min {min}: raise replicas or lower min",
            holds=lambda rollout: rollout.min is None or rollout.min <= rollout.replicas,
            field="replicas",
        ),
        Rule(
            cel="!has(self.max) || self.replicas <= self.max",
            message="replicas {replicas} is above max {max}: lower replicas or raise max",
            holds=lambda rollout: rollout.max is None or rollout.replicas <= rollout.max,
            field="replicas",
        ),
        Rule(
            cel="self.sampling.topK != 0",
            message="sampling.topK must be -1 (all tokens) or at least 1",
            holds=lambda rollout: rollout.sampling.top_k != 0,
            field="sampling.topK",
        ),
        Rule(
            cel="!has(self.sampling.forking) || self.engine == 'local'",
            message="sampling.forking needs every token's entropy before the token is sampled, which engine {engine} "
            "does not offer: set engine to local, or drop forking",
            holds=lambda rollout: rollout.sampling.forking is None or rollout.engine == "local",
            field="sampling.forking",
        ),
        Rule(
            cel="!has(self.sampling.forking) || "
            "(self.sampling.forking.temperature > 0.0 && self.sampling.forking.otherTemperature > 0.0)",
            message="sampling.forking has a temperature of 0, which leaves most tokens no probability to correct for "
            "in training: set both temperatures above 0 (data.eval.forking takes 0)",
            holds=lambda rollout: (
                rollout.sampling.forking is None
                or min(rollout.sampling.forking.temperature, rollout.sampling.forking.other_temperature) > 0
            ),
            field="sampling.forking",
        ),
        Rule(
            cel="self.weightTransfer == 'directory' || self.engine == 'vllm'",
            message="weightTransfer {weightTransfer} is a broadcast between GPUs, which engine {engine} cannot "
            "receive: set weightTransfer to directory, or engine to vllm",
            holds=lambda rollout: rollout.weight_transfer == "directory" or rollout.engine == "vllm",
            field="weightTransfer",
        ),
    )

    replicas: Annotated[int, Field(ge=1, le=4096)] = 1
    """Wanted replicas.  May be changed while the job runs."""
    min: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Replicas without which the job does not start.  With a gang, fixed while the job runs.  Default: 1."""
    max: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Most replicas that scaling may ask for."""
    engine: Literal["vllm", "local"] = "vllm"
    """`vllm` on GPUs; `local` is the built-in sampler for small models on a CPU."""
    weight_transfer: Literal["directory", "nccl"] = "directory"
    """How new weights reach rollouts.  `directory`: each fetches the policy's folder.  `nccl`: the learner also
    broadcasts them from GPU to GPU; whoever cannot receive takes the folder.  Needs engine vllm, a learner on GPUs, and
    vLLM in the learner's image."""
    sampling: SamplingSpec = SamplingSpec()
    """How a completion is sampled."""
    max_concurrent: Positive = 256
    """Completions that one replica works on at a time."""
    template: PodTemplate | None = None
    """Pod template of a replica."""
