"""Which prompts may be asked for, which groups count, and which of them close a batch.  Pure.

At policy version v, with P prompts per step and staleness bound S, a prompt may be asked for while

    accepted groups (trained ones included) + groups in flight < (v + 1 + S) * P,

and groups are used in order of position, so a group asked for at version v is used at step v + 1 + S at the latest:
its lag is at most S (docs/concepts/staleness.md).  With S = 0 the positions of a step depend on which groups are flat
and on nothing else: not on timing, replicas or restarts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rlvr_trainer.samples import Fate, ScoredGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the manifest says about admission."""

    steps: int
    """Steps of the whole job; nothing is asked for beyond them."""
    prompts_per_step: int
    max_staleness: int
    drops_flat: bool
    """Dynamic sampling: groups without signal are dropped (DAPO, section 3.2)."""


def room(limits: Limits, *, version: int, accepted: int, in_flight: int) -> int:
    """How many more prompts may be asked for.

    `accepted` counts groups that count, from the first step on, trained or not; `version` is the number of steps done.
    """
    admitted_steps = min(version + 1 + limits.max_staleness, limits.steps)
    return max(0, admitted_steps * limits.prompts_per_step - accepted - in_flight)


def fate(scored: ScoredGroup, *, drops_flat: bool) -> Fate:
    """What becomes of a judged group; flat is decided by accuracy, before any shaping of rewards."""
    if any(verdict.score is None for verdict in scored.verdicts):
        return Fate.ERROR
    if drops_flat and scored.num_correct in (0, len(scored.verdicts)):
        return Fate.FLAT
    return Fate.TRAINED


def close_batch(asked: Iterable[int], fates: Mapping[int, Fate], *, size: int) -> tuple[int, ...] | None:
    """The shortest run of asked positions, in order, with `size` groups that count; None while it is still open.

    `asked` is every position asked for and not yet used, ascending; the run includes the dropped ones between.
    """
    used: list[int] = []
    counted = 0
    for position in asked:
        if position not in fates:
            return None
        used.append(position)
        counted += fates[position] is Fate.TRAINED
        if counted == size:
            return tuple(used)
    return None
