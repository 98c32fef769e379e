"""Which rollouts speak which policy: a table, and the rules to read and change it.  Pure.

    joining -> updating -> ready(label) -> lost -> (answers again) -> updating or ready

Only a ready replica that holds the wanted label is given work.  Asking and moving replicas is rollouts.py's business.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace


class State(enum.StrEnum):
    """What the coordinator knows about a replica."""

    JOINING = "joining"
    """Never answered yet."""
    UPDATING = "updating"
    """Answers, but its policy is not the wanted one."""
    READY = "ready"
    LOST = "lost"
    """Failed a request or stopped answering."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One rollout."""

    url: str
    state: State = State.JOINING
    label: str | None = None
    """Policy it holds, when it is known."""
    in_flight: int = 0
    """Completions it is writing for us."""
    num_losses: int = 0
    """Times it was lost since it was last ready."""

    def answered(self, label: str | None, *, wanted: str, is_ready: bool) -> Replica:
        """After /status or an update said which policy it holds and whether it can generate."""
        if is_ready and label == wanted:
            return replace(self, state=State.READY, label=label, num_losses=0)
        return replace(self, state=State.UPDATING, label=label)

    def lost(self) -> Replica:
        """After it failed a request, an update or all looks; a replica that is lost already stays as it is."""
        if self.state is State.LOST:
            return self
        return replace(self, state=State.LOST, label=None, num_losses=self.num_losses + 1)

    def given(self, num_completions: int) -> Replica:
        return replace(self, in_flight=self.in_flight + num_completions)

    def relieved_of(self, num_completions: int) -> Replica:
        return replace(self, in_flight=self.in_flight - num_completions)


def least_loaded(replicas: Iterable[Replica], *, wanted: str, max_in_flight: int) -> Replica | None:
    """The replica to ask next: ready, on the wanted policy, not full, with the least to do."""
    able = [
        replica
        for replica in replicas
        if replica.state is State.READY and replica.label == wanted and replica.in_flight < max_in_flight
    ]
    return min(able, key=lambda replica: replica.in_flight, default=None)


def delay_before_look(replica: Replica, *, first: float, ceiling: float) -> float:
    """Seconds until a replica that is not ready is looked at again: doubling with every loss in a row."""
    return min(first * 2.0 ** max(replica.num_losses - 1, 0), ceiling)


def count_by_state(replicas: Iterable[Replica], *, wanted: str) -> dict[State, int]:
    """Every state with its number of replicas; one that is ready on another policy counts as updating."""
    found = Counter(
        State.UPDATING if replica.state is State.READY and replica.label != wanted else replica.state
        for replica in replicas
    )
    return {state: found[state] for state in State}
