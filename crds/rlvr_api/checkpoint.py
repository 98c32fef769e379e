"""Where the state of a run is kept, how often, and how many."""

from __future__ import annotations

from typing import Literal

from rlvr_api.base import Model
from rlvr_api.quantities import Location, Positive, Word


class SecretReference(Model):
    """A Secret in the job's namespace."""

    name: Word
    """Its keys become environment variables of the learner (AWS_ACCESS_KEY_ID, ...)."""


class CheckpointSpec(Model):
    """Where the state of a run is kept, how often, and how many."""

    uri: Location | None = None
    """A local path or a file://, s3://, gs:// or az:// prefix.  Default: `checkpoints` in the run's folder, which does
    not outlive a pod."""
    secret_ref: SecretReference | None = None
    """Credentials of the store."""
    every: Positive = 10
    """Steps between checkpoints; the last step always has one."""
    keep: Positive = 3
    """How many complete checkpoints stay."""
    resume: Literal["auto", "never"] = "auto"
    """`auto` continues from the newest complete checkpoint of this job; `never` begins with the base model, in a place
    without checkpoints of another run, and continues from its own alone."""
