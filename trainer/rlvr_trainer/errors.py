"""Every error of the trainer that a user can act on.

    TrainerError
    ├── InvalidInput         the manifest, data or model is wrong; never retried (exit 64)
    ├── Unavailable          something that should come back: a replica, a judge, a store
    └── CorruptArtifact      a checkpoint, policy or batch that does not match its manifest

Each message names the value, the rule and the way out.
"""

from __future__ import annotations


class TrainerError(Exception):
    """Base of the tree above."""


class InvalidInput(TrainerError, ValueError):
    """The user's manifest, data or model cannot work; repeating the attempt would not help."""


class Unavailable(TrainerError, ConnectionError):
    """A peer did not answer as it should; the caller decides whether to wait."""


class CorruptArtifact(TrainerError):
    """Stored bytes differ from what their manifest promises."""
