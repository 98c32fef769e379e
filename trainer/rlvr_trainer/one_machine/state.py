"""What supervision remembers of a run: members, attempts, limits.  Frozen records; supervision.py makes new ones."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final

from rlvr_trainer.one_machine.events import Ending


class Rule(enum.Enum):
    """What an exit means."""

    REPLACE = "replace"
    ATTEMPT = "attempt"


class Life(enum.Enum):
    """Where a member is; `Member.due` says when the next thing happens."""

    WAITING = "waiting"
    """To be started when due."""
    RUNNING = "running"
    STOPPING = "stopping"
    """Asked to stop; killed when due."""
    FINISHED = "finished"
    """Exited with code 0."""
    LOST = "lost"
    """Ended in any other way."""


_ENDED: Final = frozenset({Life.FINISHED, Life.LOST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One process of the job, by its rule and its history."""

    rule: Rule
    saves: bool = False
    """Asked to stop, it saves a checkpoint first."""
    life: Life = Life.WAITING
    due: float = 0.0
    exits: tuple[float, ...] = ()
    """When it was lost, within the window."""

    @property
    def has_ended(self) -> bool:
        return self.life in _ENDED


class OnExit(enum.Enum):
    """What certain exit codes mean."""

    RESTART = "restart"
    RESTART_FREE = "restartFree"
    """Another attempt that the budget does not pay for."""
    FAIL = "fail"
    """No other attempt would end differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The numbers of the failure rules; infinite means no limit."""

    max_restarts: int = 3
    stable_seconds: float = 600.0
    """An attempt this long that left a newer checkpoint earns the restart budget back."""
    no_progress_attempts: int = 2
    active_seconds: float = inf
    hang_seconds: float = inf
    startup_seconds: float = inf
    final_codes: frozenset[int] = frozenset()
    """Exit codes of any member that end the run: nothing would end differently."""
    on_exit: Mapping[int, OnExit] = field(default_factory=dict)
    """Exit codes of the attempt's members as a shell shows them (137 for SIGKILL); others cost a restart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the run ends, once that is decided."""

    ending: Ending
    reason: str = ""
    culprit: str = ""
    """Name of the process to look at."""
    exit_code: int = 0
    """Of the whole run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything `decide` remembers."""

    members: Mapping[str, Member]
    attempt: int
    started: float
    attempt_started: float
    attempt_checkpoint: int | None = None
    """Step of the newest checkpoint when the attempt began."""
    checkpoint: int | None = None
    step: int | None = None
    moved: float = 0.0
    """When the step last changed, or the attempt began."""
    restarts: int = 0
    fruitless: int = 0
    """Attempts in a row that ended without a newer checkpoint."""
    stopping: bool = False
    """The user asked to stop; the learner is saving."""
    outcome: Outcome | None = None

    @property
    def is_over(self) -> bool:
        return self.outcome is not None and all(member.has_ended for member in self.members.values())
