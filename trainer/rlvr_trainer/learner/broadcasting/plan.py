"""Who takes part in a broadcast, and at which rank.  Pure.

The learner is rank 0.  Replica i has the ranks from 1 + the sizes of all before it; the world is 1 + the sizes of all.
A replica that is not ready with a known policy takes folders until it is; a circle is made anew when a member has
joined, left, or lost what it had joined.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

MOST_FAILURES: Final = 3
"""Broadcasts that failed one after the other, until the attempt stays with folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What an agent says of its engine."""

    url: str
    is_ready: bool
    """Whether it serves a policy that is known."""
    circle: str | None
    """That it can receive in."""
    world_size: int
    """Processes that hold a part of its weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A replica in a circle; its processes count on from its offset."""

    url: str
    rank_offset: int
    world_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """The learner and whoever it broadcasts to."""

    name: str
    members: tuple[Member, ...]

    @property
    def world_size(self) -> int:
        return 1 + sum(member.world_size for member in self.members)


def circle_for(replicas: Iterable[Replica], *, known: Circle | None, name: str) -> Circle | None:
    """Who receives the next policy: `known` while it fits, else a circle called `name`; None when nobody can."""
    able = sorted((replica for replica in replicas if replica.is_ready), key=lambda replica: replica.url)
    members = _members(able)
    if known is not None and known.members == members and all(replica.circle == known.name for replica in able):
        return known
    return Circle(name=name, members=members) if members else None


def _members(replicas: Iterable[Replica]) -> tuple[Member, ...]:
    members: list[Member] = []
    offset = 1
    for replica in replicas:
        members.append(Member(url=replica.url, rank_offset=offset, world_size=replica.world_size))
        offset += replica.world_size
    return tuple(members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds."""

    look: float = 5.0
    """For an agent to say how its engine is."""
    join: float = 120.0
    """For all ranks to find each other."""
    wanted: float = 10.0
    """For the coordinator to ask all members for the policy; less than an agent waits for its broadcast."""
    take: float = 300.0
    """For the weights to be in, and every engine to agree with them."""


def patience_within(hang_seconds: float) -> Patience:
    """So little that the other ranks, who wait for the sender, never take the whole of it for a hang."""
    usual = Patience()
    return Patience(
        look=min(usual.look, hang_seconds / 16),
        join=min(usual.join, hang_seconds / 8),
        wanted=min(usual.wanted, hang_seconds / 16),
        take=min(usual.take, hang_seconds / 4),
    )
