"""What the updates of a step did to its tokens: counts by class of entropy, and a record of each token.

B rows of the step, M rows of a pass, T completion tokens.  The class of high entropy comes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from rlvr_trainer.algorithms.objective import Loss, TokenFacts
from rlvr_trainer.learner.microbatches import MicroBatch, Rows
from rlvr_trainer.learner.ranks import Ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Completion tokens of one class."""

    num_tokens: int
    num_selected: int
    """Those that receive a policy gradient; the following are of these."""
    num_lower: int
    """Stopped at the lower bound of the ratio."""
    num_upper: int
    num_dual: int
    """Stopped by the dual clip."""
    kl_nats: float | None
    """Sum of k3 estimates over the class's tokens; absent without a reference."""

    def __add__(self, other: Counts) -> Counts:
        both = (self.kl_nats, other.kl_nats)
        return Counts(
            num_tokens=self.num_tokens + other.num_tokens,
            num_selected=self.num_selected + other.num_selected,
            num_lower=self.num_lower + other.num_lower,
            num_upper=self.num_upper + other.num_upper,
            num_dual=self.num_dual + other.num_dual,
            kl_nats=None if None in both else sum(nats or 0.0 for nats in both),
        )

    @property
    def num_clipped(self) -> int:
        return self.num_lower + self.num_upper


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace:
    """Of every token, as the last update that it had part in found it."""

    clipped_BT: Tensor
    """Whether the clip or the dual clip stopped its gradient."""
    k3_BT: Tensor | None
    """Nats; absent without a reference."""

    @classmethod
    def of(cls, mask_BT: Tensor, *, has_reference: bool) -> Self:
        k3_BT = torch.zeros_like(mask_BT, dtype=torch.float32) if has_reference else None
        return cls(clipped_BT=torch.zeros_like(mask_BT), k3_BT=k3_BT)

    def remember(self, micro: MicroBatch, facts: TokenFacts, selected_MT: Tensor) -> None:
        stopped_MT = facts.clipped_low_MT | facts.clipped_high_MT | facts.dual_clipped_MT
        micro.put(stopped_MT & selected_MT, self.clipped_BT)
        if self.k3_BT is not None and facts.k3_MT is not None:
            micro.put(facts.k3_MT, self.k3_BT)

    def forget(self, rows: Rows) -> None:
        """Rows that are about to be in an update, on whatever rank."""
        self.clipped_BT[list(rows)] = False
        if self.k3_BT is not None:
            self.k3_BT[list(rows)] = 0.0

    def pooled(self, ranks: Ranks) -> Trace:
        """The traces of all ranks: each remembers the rows that it computed last."""
        k3_BT = None if self.k3_BT is None else ranks.add(self.k3_BT)
        return Trace(clipped_BT=pooled(self.clipped_BT, ranks), k3_BT=k3_BT)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """What the passes of an update add up to."""

    losses_2: Tensor
    """Whole loss and its policy part."""
    classes_26: Tensor
    """As `tally` has them."""

    @classmethod
    def of(cls, part: Loss, *, tallied: Tensor) -> Self:
        """One pass; everything stays on its device."""
        return cls(losses_2=torch.stack([part.total.detach(), part.policy]).double(), classes_26=tallied)

    @classmethod
    def all(cls, passes: Sequence[Sums], ranks: Ranks) -> Self:
        """All passes of all ranks."""
        own = [torch.cat([one.losses_2, one.classes_26.flatten()]) for one in passes]
        total = ranks.add(torch.stack(own).sum(0))
        return cls(losses_2=total[:2], classes_26=total[2:].view(2, -1))

    @property
    def loss(self) -> float:
        return float(self.losses_2[0])

    @property
    def policy(self) -> float:
        return float(self.losses_2[1])

    def counts(self, *, has_reference: bool) -> tuple[Counts, Counts]:
        """Of both classes."""
        high, low = self.classes_26.tolist()
        return _counts(high, has_reference=has_reference), _counts(low, has_reference=has_reference)


def pooled(flags_BT: Tensor, ranks: Ranks) -> Tensor:
    """True where any rank has it; no two ranks have the same row."""
    return ranks.add(flags_BT.to(torch.int32)).bool()


def tally(facts: TokenFacts, mask_MT: Tensor, selected_MT: Tensor, high_MT: Tensor) -> Tensor:
    """[2, 6] float64 sums of a pass, in the order of Counts; they stay on the device."""
    stopped = (facts.clipped_low_MT, facts.clipped_high_MT, facts.dual_clipped_MT)
    columns = [mask_MT, selected_MT, *(stopped_MT & selected_MT for stopped_MT in stopped)]
    values_6MT = torch.stack([*columns, torch.zeros_like(mask_MT) if facts.k3_MT is None else facts.k3_MT]).double()
    classes_2MT = torch.stack([mask_MT & high_MT, mask_MT & ~high_MT])
    return torch.where(classes_2MT[:, None], values_6MT, 0.0).sum((-2, -1))


def _counts(sums: Sequence[float], *, has_reference: bool) -> Counts:
    tokens, selected, lower, upper, dual = map(int, sums[:5])
    return Counts(
        num_tokens=tokens,
        num_selected=selected,
        num_lower=lower,
        num_upper=upper,
        num_dual=dual,
        kl_nats=sums[5] if has_reference else None,
    )
