"""Weights, gradients and optimizer state sharded over ranks by DeepSpeed's ZeRO.

Stage 1 shards the optimizer's state, 2 gradients too, 3 weights too.  Master weights and moments are float32; bfloat16
is how the model computes and communicates.  Losses and updates are those of the `local` backend: gradients are summed
over ranks, not averaged, for a step's losses are already divided by the totals of all of them.

Nothing is compiled: torch's AdamW and torch.distributed do the work of DeepSpeed's own kernels.  Every rank reads the
whole base model into host memory before it keeps its part.
"""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import deepspeed
import deepspeed.ops
import torch
from torch import Tensor

from rlvr_api import OptimizerSpec, RLVRJobSpec
from rlvr_trainer.learner.backends.base import Diverged, Scorer, base_of
from rlvr_trainer.learner.backends.local import make_optimizer, stored_in
from rlvr_trainer.learner.backends.partitions import Partitions
from rlvr_trainer.learner.microbatches import MicroBatch
from rlvr_trainer.learner.models import Policy, open_policy
from rlvr_trainer.learner.ranks import Ranks
from rlvr_trainer.learner.shards import KINDS, WEIGHT, check_fit, write_shard
from rlvr_trainer.learner.weights import AdapterFiles, Weight, check_base, save_base

logger = logging.getLogger(__name__)
# DeepSpeed calls what torch calls old, at every collective.
warnings.filterwarnings("ignore", message=".*is deprecated.*", category=FutureWarning, module="torch.distributed")
KERNELS: Final = ("deepspeed_shm_comm", "fused_adam", "cpu_adam")
"""What DeepSpeed would compile for what it does here."""


def open_zero(folder: Path, spec: RLVRJobSpec, ranks: Ranks) -> ZeroBackend:
    """The model in `folder`, to be trained by all ranks."""
    chosen = spec.learner.backend.deepspeed
    assert chosen is not None, "the caller looked"
    refuse_compilation()
    policy = open_policy(folder, spec).to(
        torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else "cpu"
    )
    config = configuration(
        policy.parameters(),
        spec.training.optimizer,
        stage=chosen.zero_stage,
        offload=chosen.offload == "cpu",
        half=spec.model.dtype == "bfloat16",
    )
    optimizer = make_optimizer(policy.trained().values(), spec.training.optimizer)
    return ZeroBackend(policy, optimizer, config, ranks=ranks)


def refuse_compilation() -> None:
    """Make DeepSpeed believe that nothing can be compiled; unasked it would run a compiler for minutes.

    The table is private: a test watches that it is still asked.
    """
    deepspeed.ops.__compatible_ops__ = {}
    logger.info("DeepSpeed runs without its compiled kernels (%s): torch does their work", ", ".join(KERNELS))


def configuration(
    parameters: Iterable[Tensor], optimizer: OptimizerSpec, *, stage: int, offload: bool, half: bool
) -> dict[str, Any]:
    """DeepSpeed's configuration.  Passes of an update are counted by us: they differ from step to step."""
    largest_vector = max((p.numel() for p in parameters if p.ndim < 2), default=0)
    zero: dict[str, Any] = {
        "stage": stage,
        "overlap_comm": False,
        "contiguous_gradients": True,
        # Vectors stay whole on every rank; each matrix is sharded, however small.
        "stage3_param_persistence_threshold": largest_vector,
    }
    if offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
        "gradient_clipping": optimizer.max_grad_norm,
        "zero_optimization": zero,
        "zero_force_ds_cpu_optimizer": False,
        "bf16": {"enabled": half},
        # With stage 1 this would choose an optimizer that holds no shards of its own.
        "data_types": {"grad_accum_dtype": "fp32" if half and stage > 1 else None},
        "steps_per_print": None,
    }


class ZeroBackend:
    """A Backend for weights that fit all ranks together."""

    def __init__(
        self, policy: Policy, optimizer: torch.optim.Optimizer, config: dict[str, Any], *, ranks: Ranks
    ) -> None:
        self._ranks = ranks
        self._stage: int = config["zero_optimization"]["stage"]
        self._engine, self._sharded, *_ = deepspeed.initialize(model=policy, optimizer=optimizer, config=config)
        self._policy = policy
        self._named = policy.trained()
        self._partitions = Partitions(self._sharded, self._named, stage=self._stage, rank=ranks.rank)
        if self._stage == 3:
            # The head is read without its module being called.
            deepspeed.zero.register_external_parameter(policy, policy.model.get_output_embeddings().weight)

    @property
    def device(self) -> torch.device:
        device: torch.device = self._engine.device
        return torch.device(device)

    @property
    def num_bytes(self) -> int:
        """Of the ranks of this node."""
        return 4 * len(KINDS) * sum(self._sizes.values()) * self._ranks.node_size // self._ranks.size

    def statistics(self, micro: MicroBatch) -> tuple[Tensor, Tensor]:
        statistics: tuple[Tensor, Tensor] = self._engine(
            micro.tokens_MS, micro.lengths_M, micro.predictors_N, micro.targets_N
        )
        return statistics

    def untempered(self) -> Scorer:
        return _Untempered(self._engine)

    def base(self) -> Scorer | None:
        return base_of(self, self._policy.adapters)

    def backward(self, loss: Tensor) -> None:
        self._engine.backward(loss * self._ranks.size)

    def update(self, *, learning_rate: float) -> float:
        for group in self._sharded.param_groups:
            group["lr"] = learning_rate
        self._engine.step()
        norm = float(self._engine.get_global_grad_norm())
        if self._sharded.overflow or not math.isfinite(norm):
            raise Diverged(f"the gradient norm is {norm}")
        return norm

    def weights(self) -> dict[str, Tensor]:
        return self._whole(self._policy.published())

    def adapter(self) -> AdapterFiles | None:
        adapters = self._policy.adapters
        if adapters is None:
            return None
        return adapters.files(self._whole(Weight(name=name, own=p) for name, p in self._named.items()))

    def _whole(self, weights: Iterable[Weight]) -> dict[str, Tensor]:
        """Gathered one by one; whole on rank 0, none elsewhere."""
        found = {}
        for one in weights:
            with self._gathered(*one.parameters):
                if self._ranks.rank == 0:
                    found[one.name] = one.value().to("cpu", copy=True).contiguous()
        return found

    def save(self, folder: Path) -> None:
        parts, ranks = self._partitions, self._ranks
        write_shard(folder, parts.pieces(), rank=ranks.rank, size=ranks.size, num_updates=parts.num_updates)
        if self._ranks.rank == 0:
            save_base(self._policy.adapters, folder)

    def load(self, folder: Path) -> None:
        """Weights and moments of any backend, stage and number of ranks; rates and decay are the manifest's."""
        check_base(self._policy.adapters, folder)
        shards = stored_in(folder, self._shapes)
        check_fit(shards, self._sizes, folder=folder)
        for state in self._partitions.states():
            state["step"] = torch.tensor(float(shards.num_updates))
        for piece in self._partitions.pieces():
            for kind in KINDS:
                piece.tensors[kind].copy_(shards.read(piece.name, kind, start=piece.start, size=piece.size))
        for name, parameter in self._named.items():
            with self._gathered(parameter, writes=True), torch.no_grad():
                whole = shards.read(name, WEIGHT, start=0, size=self._sizes[name])
                parameter.copy_(whole.view(parameter.shape))

    @property
    def _shapes(self) -> dict[str, Tensor]:
        """Of the whole weights, without their elements."""
        return {name: torch.empty(getattr(p, "ds_shape", p.shape), device="meta") for name, p in self._named.items()}

    @property
    def _sizes(self) -> dict[str, int]:
        return {name: getattr(p, "ds_numel", p.numel()) for name, p in self._named.items()}

    def _gathered(self, *parameters: torch.nn.Parameter, writes: bool = False) -> Any:
        return deepspeed.zero.GatheredParameters(
            list(parameters), modifier_rank=0 if writes else None, enabled=self._stage == 3
        )


class _Untempered:
    """A Scorer of the engine's weights at temperature 1."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def statistics(self, micro: MicroBatch) -> tuple[Tensor, Tensor]:
        policy = self._engine.module
        tempered, policy.temperature = policy.temperature, 1.0
        statistics: tuple[Tensor, Tensor] = self._engine(
            micro.tokens_MS, micro.lengths_M, micro.predictors_N, micro.targets_N
        )
        policy.temperature = tempered
        return statistics
