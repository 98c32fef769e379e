"""From Kubernetes objects, as plain dictionaries, to records.  Pure.

Never raises on what another program or version wrote: a pod that is not one of ours is None, a spec that breaks rules
is a list of problems, and status fields that this version does not know are left out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeGuard, get_args

from pydantic import ValidationError

from rlvr_api import RLVRJobSpec, RLVRJobStatus, contract
from rlvr_api.complaints import complaints
from rlvr_operator.observed import Exit, JobSeen, PodPhase, PodSeen, Role, Waiting
from rlvr_operator.timestamps import unix_or_none
from rlvr_operator.workloads.names import FAILURES

Object = Mapping[str, Any]
_DISRUPTIONS: Final = ("DisruptionTarget", "TerminationTarget")
"""Kubernetes' condition of a pod about to be removed for no fault of its own, and Kueue's."""
_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})


def parse_job(raw: Object) -> JobSeen:
    """The job object."""
    metadata, raw_spec = raw["metadata"], raw.get("spec") or {}
    spec, problems = _spec(raw_spec)
    return JobSeen(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        created_at=unix_or_none(metadata.get("creationTimestamp")) or 0.0,
        deleted_at=unix_or_none(metadata.get("deletionTimestamp")),
        finalizers=tuple(metadata.get("finalizers") or ()),
        labels=dict(metadata.get("labels") or {}),
        annotations=dict(metadata.get("annotations") or {}),
        managed_by=str(raw_spec.get("managedBy", contract.DEFAULT_MANAGER)),
        spec=spec,
        problems=problems,
        status=_status(raw.get("status") or {}),
    )


def parse_pod(raw: Object) -> PodSeen | None:
    """One of our pods; None for one that lacks our labels."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    labels = metadata.get("labels") or {}
    role, index, attempt = (labels.get(label) for label in _IDENTITY)
    if not _is_role(role) or not _is_number(index) or not _is_number(attempt):
        return None
    failures = (metadata.get("annotations") or {}).get(FAILURES)
    return PodSeen(
        name=metadata["name"],
        uid=metadata["uid"],
        role=role,
        index=int(index),
        attempt=int(attempt),
        failures=int(failures) if _is_number(failures) else 0,
        phase=_phase(status.get("phase")),
        created_at=unix_or_none(metadata.get("creationTimestamp")) or 0.0,
        deleted_at=unix_or_none(metadata.get("deletionTimestamp")),
        is_held=bool(metadata.get("finalizers")),
        grace_seconds=spec.get("terminationGracePeriodSeconds", 30),
        node=spec.get("nodeName") or "",
        address=status.get("podIP") or "",
        restarts=max((container.get("restartCount", 0) for container in _containers(status)), default=0),
        waiting=tuple(_waiting(status)),
        exits=tuple(_exits(status)),
        **_from_conditions(spec, status),
    )


_IDENTITY: Final = (contract.LABEL_ROLE, contract.LABEL_INDEX, contract.LABEL_ATTEMPT)


def _is_role(value: Any) -> TypeGuard[Role]:
    return value in get_args(Role)


def _is_number(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value.isascii() and value.isdigit()


def _phase(value: Any) -> PodPhase:
    phases: tuple[PodPhase, ...] = get_args(PodPhase)
    return next((phase for phase in phases if phase == value), "Pending")


def _spec(raw: Object) -> tuple[RLVRJobSpec | None, tuple[str, ...]]:
    try:
        return RLVRJobSpec.model_validate(dict(raw), by_alias=True, by_name=False), ()
    except ValidationError as error:
        return None, tuple(complaint.text for complaint in complaints(error, under=("spec",)))


def _status(raw: Object) -> RLVRJobStatus:
    """What is written already; a field that cannot be read is dropped, so that the rest is not forgotten."""
    known = copy.deepcopy(dict(raw))
    while True:
        try:
            return RLVRJobStatus.model_validate(known, by_alias=True, by_name=False)
        except ValidationError as error:
            for details in error.errors(include_url=False):
                _drop(known, details["loc"])


def _drop(tree: Any, path: tuple[int | str, ...]) -> None:
    """Remove the deepest dictionary entry on `path`."""
    holder, key = tree, path[0]
    for part in path:
        if not isinstance(tree, dict | list) or (isinstance(tree, dict) and part not in tree):
            break
        if isinstance(tree, dict):
            holder, key = tree, part
        tree = tree[part]  # type: ignore[index]  # a part of a list's path is a number
    holder.pop(key, None)


def _from_conditions(spec: Object, status: Object) -> dict[str, Any]:
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    ready, scheduled = conditions.get("Ready", {}), conditions.get("PodScheduled", {})
    is_ready, is_placed = ready.get("status") == "True", bool(spec.get("nodeName"))
    since = unix_or_none(ready.get("lastTransitionTime"))
    reason = "" if is_placed else scheduled.get("reason", "")
    return {
        "is_ready": is_ready,
        "ready_since": since if is_ready else None,
        "unready_since": None if is_ready else since,
        "is_placed": is_placed,
        "placed_at": unix_or_none(scheduled.get("lastTransitionTime")) if is_placed else None,
        "is_gated": bool(spec.get("schedulingGates")) or reason == "SchedulingGated",
        "unschedulable": scheduled.get("message", "") if reason == "Unschedulable" else "",
        **_disruption(conditions),
    }


def _disruption(conditions: Mapping[str, Object]) -> dict[str, Any]:
    for kind in _DISRUPTIONS:
        condition = conditions.get(kind, {})
        if condition.get("status") == "True":
            said = ": ".join(part for part in (condition.get("reason"), condition.get("message")) if part)
            return {"is_disrupted": True, "disruption": said}
    return {}


def _containers(status: Object) -> Iterator[Object]:
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _waiting(status: Object) -> Iterator[Waiting]:
    for container in _containers(status):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason and reason not in _STARTING:
            yield Waiting(
                container=container["name"],
                image=container.get("image", ""),
                reason=reason,
                message=waiting.get("message", ""),
            )


def _exits(status: Object) -> Iterator[Exit]:
    """Ends of containers; an init container that did its work is none."""
    init = {container["name"] for container in status.get("initContainerStatuses") or ()}
    for container in _containers(status):
        for key in ("state", "lastState"):
            ended = (container.get(key) or {}).get("terminated")
            if ended and not (container["name"] in init and ended.get("exitCode") == 0):
                yield Exit(
                    container=container["name"],
                    code=ended.get("exitCode", 1),
                    reason=ended.get("reason") or "",
                    message=ended.get("message") or "",
                    started_at=unix_or_none(ended.get("startedAt")),
                    finished_at=unix_or_none(ended.get("finishedAt")),
                    is_last=key == "lastState",
                )
