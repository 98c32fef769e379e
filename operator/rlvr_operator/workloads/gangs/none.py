"""No gang: every pod is scheduled by itself, and admitted by itself if a Kueue queue is named."""

from __future__ import annotations

from typing import Final

from rlvr_operator.workloads.gangs.base import Adapter
from rlvr_operator.workloads.gangs.kueue import queued

NONE: Final = Adapter(inside=queued, beside=queued)
