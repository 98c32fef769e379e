"""Deadlines, in seconds.  An absent one never passes."""

from __future__ import annotations

from rlvr_api.base import Model
from rlvr_api.quantities import Count, Positive


class LimitsSpec(Model):
    """How long things may take."""

    active_deadline_seconds: Positive | None = None
    """The job fails when it has run this long, suspension not counted."""
    startup_deadline_seconds: Positive = 1800
    """The job fails when the first step has not begun this long after its pods were placed."""
    hang_timeout_seconds: Positive = 1800
    """The learner is restarted when no step has finished for this long."""
    ttl_seconds_after_finished: Count | None = None
    """The job is deleted this long after its end.  Default: kept."""
