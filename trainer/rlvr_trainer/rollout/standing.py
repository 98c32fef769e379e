"""What an agent knows about its engine, and the word for it.  Pure.

    joining -> updating -> ready -> updating -> ready ...
       ^           |          |
       |           v          | the engine died or was replaced
       |         dirty        |
       +----------------------+

Only a policy that this agent installed and the engine confirms is a known version: a label found on an engine says
nothing about the weights under it, for an update may have been cut short.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.StrEnum):
    """What GET /status says."""

    JOINING = "joining"
    """The engine is away, new, or holds weights of unknown origin: send it a policy."""
    UPDATING = "updating"
    READY = "ready"
    DIRTY = "dirty"
    """An update failed half-way: send it a policy again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Facts about the engine."""

    installed: str | None = None
    """Label of the policy that this agent installed last."""
    seen: str | None = None
    """What the engine said it holds when last asked; None when it did not answer."""
    is_updating: bool = False
    is_dirty: bool = False
    joined: str | None = None
    """Name of the circle of broadcasts that the engine was brought into last."""

    @property
    def circle(self) -> str | None:
        """The circle that it can receive in; an engine of unknown version may be another one than joined."""
        return self.joined if self.version is not None else None

    @property
    def version(self) -> str | None:
        """The policy that answers carry, if it is known."""
        return self.installed if self.seen == self.installed and not self.is_dirty else None

    @property
    def state(self) -> State:
        if self.is_updating:
            return State.UPDATING
        if self.is_dirty:
            return State.DIRTY
        return State.READY if self.version is not None else State.JOINING
