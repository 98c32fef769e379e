"""What a job that is done says at its end, in the termination messages of its first learner pod.  Pure.

The coordinator answers questions until it ends, but the last evaluation and the last checkpoint come at the very end,
and the operator asks every quarter of a minute only.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from pydantic import ValidationError

from rlvr_api import CheckpointProgress, Progress
from rlvr_api.base import Model
from rlvr_operator.observed import JobSeen, PodSeen, ProgressSeen

M = TypeVar("M", bound=Model)


def last_words(job: JobSeen, pods: Iterable[PodSeen]) -> ProgressSeen | None:
    """Progress as coordinator and learner told it when they ended with 0; None before, or when it cannot be read."""
    attempt = job.status.attempt
    first = next((pod for pod in pods if (pod.role, pod.index, pod.attempt) == ("learner", 0, attempt)), None)
    progress = None if first is None else _said(first, "coordinator", Progress)
    if first is None or progress is None or progress.attempt != attempt:
        return None
    checkpoint = _said(first, "learner", CheckpointProgress) or progress.checkpoint
    return ProgressSeen(progress=progress.model_copy(update={"checkpoint": checkpoint}), heard_at=progress.updated_at)


def _said(pod: PodSeen, container: str, kind: type[M]) -> M | None:
    message = next((it.message for it in pod.exits if it.container == container and it.code == 0), "")
    try:
        return kind.model_validate_json(message, by_alias=True) if message else None
    except ValidationError:
        return None
