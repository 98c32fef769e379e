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

    def answered(self, label: str | None, *, wanted: str, is_ready: bool) -> Replica:
        """After /status or an update said which policy it holds and whether it can generate."""
        state = State.READY if is_ready and label == wanted else State.UPDATING
        return replace(self, state=state, label=label)

    def lost(self) -> Replica:
        return replace(self, state=State.LOST, label=None)

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


def count_by_state(replicas: Iterable[Replica], *, wanted: str) -> dict[State, int]:
    """Every state with its number of replicas; one that is ready on another policy counts as updating."""
    found = Counter(
        State.UPDATING if replica.state is State.READY and replica.label != wanted else replica.state
        for replica in replicas
    )
    return {state: found[state] for state in State}
