"""What one rank holds of weights and moments under ZeRO, read from where DeepSpeed keeps it.

These are DeepSpeed's internals: what its own universal checkpoints read for stages 1 and 2, and its bookkeeping of
gradients for stage 3.  The matrix of stages and ranks in the tests watches that they mean what they did.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlvr_trainer.learner.shards import MOMENTS, WEIGHT, Piece


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a rank's part of a weight is: in which flat partition, from where on, and which part it is."""

    group: int
    offset: int
    start: int
    size: int


def equal_part(num_elements: int, part: int, *, rank: int) -> tuple[int, int] | None:
    """Start and size of what a rank holds of a weight that is cut into parts of `part`, the last ones padded; None
    where there is nothing but padding.
    """
    start = part * rank
    size = min(part, num_elements - start)
    return (start, size) if size > 0 else None


class Partitions:
    """The parts of one rank; `sharded` is DeepSpeed's optimizer."""

    def __init__(self, sharded: Any, named: Mapping[str, torch.nn.Parameter], *, stage: int, rank: int) -> None:
        self._sharded = sharded
        self._named = named
        self._stage = stage
        self._rank = rank

    @property
    def num_updates(self) -> int:
        return max((int(state["step"]) for state in self.states()), default=0)

    def states(self) -> list[dict[str, Any]]:
        """The optimizer's state of every flat partition of this rank, made where no update made it yet."""
        return [self._state_of(flat) for flat in self._flats()]

    def pieces(self) -> Iterator[Piece]:
        """What this rank holds of every weight, as views that may be written."""
        for name, parameter in self._named.items():
            place = self._place_in_stage_3(parameter) if self._stage == 3 else self._place(parameter)
            if place is None:
                continue
            flat = self._flats()[place.group]
            held = {WEIGHT: flat.detach(), **{kind: self._state_of(flat)[kind] for kind in MOMENTS}}
            part = {kind: tensor.narrow(0, place.offset, place.size) for kind, tensor in held.items()}
            yield Piece(name=name, start=place.start, tensors=part)

    def _state_of(self, flat: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self._sharded.optimizer.state[flat]
        if not state:
            state.update({"step": torch.tensor(0.0), **{kind: torch.zeros_like(flat) for kind in MOMENTS}})
        return state

    def _flats(self) -> list[Tensor]:
        flats: list[Tensor] = (
            self._sharded.fp32_partitioned_groups_flat
            if self._stage == 3
            else self._sharded.single_partition_of_fp32_groups
        )
        return flats

    def _place(self, parameter: Any) -> _Place | None:
        """Stages 1 and 2."""
        mapping = parameter._hp_mapping  # noqa: SLF001 - what DeepSpeed's own universal checkpoints read
        if mapping is None:
            return None
        held, own = mapping.hp_fragment_address, mapping.lp_fragment_address
        return _Place(group=mapping.param_group_index, offset=held.start, start=own.start, size=own.numel)

    def _place_in_stage_3(self, parameter: Any) -> _Place | None:
        group, offset, part = self._sharded.grad_position[self._sharded.get_param_id(parameter)]
        held = equal_part(parameter.ds_numel, part, rank=self._rank)
        return _Place(group=group, offset=offset, start=held[0], size=held[1]) if held else None
