"""Whose an object is that has a name which the operator wants.  Pure.

An object of this job is kept up to date, one that a deleted job of the same name left behind is in the way for moments
only, and anything else is somebody's: it is never touched.
"""

from __future__ import annotations

from rlvr_api import contract
from rlvr_operator.cluster.resources import Raw
from rlvr_operator.observed import JobSeen


def is_of(job: JobSeen, raw: Raw) -> bool:
    """The job controls it."""
    return bool(_controller(raw).get("uid") == job.uid)


def is_left_behind(job: JobSeen, raw: Raw) -> bool:
    """A job of that name controlled it; as this one has the name now, the garbage collector is late."""
    owner = _controller(raw)
    return (owner.get("kind"), owner.get("name")) == (contract.KIND, job.name) and owner.get("uid") != job.uid


def taken(job: JobSeen, raw: Raw) -> str:
    """Why an object is left alone, and the way out."""
    kind, name, owner = raw["kind"], raw["metadata"]["name"], _controller(raw)
    if is_left_behind(job, raw):
        return f"{kind} {name} is of an earlier job of this name: wait until it is gone, or delete it"
    whose = f"belongs to {owner['kind']} {owner['name']}" if owner else "has no controller"
    return (
        f"{kind} {name} is there already, {whose} and is left alone: delete it, or give the job another name than "
        f"{job.name}"
    )


def _controller(raw: Raw) -> Raw:
    owners: list[Raw] = raw["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), {})
