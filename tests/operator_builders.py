"""Jobs, pods and clusters as the operator sees them: say only what a test is about."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from builders import a_job_dict
from rlvr_api import CheckpointProgress, Condition, Progress, RLVRJobSpec, RLVRJobStatus, contract
from rlvr_api.status import AttemptStatus
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.observed import Exit, JobSeen, Observed, PodSeen, ProgressSeen, Role, Waiting
from rlvr_operator.timestamps import rfc3339
from rlvr_operator.workloads import name_of

NOW = 1_000_000.0
LONG_AGO = NOW - 3600.0
DAY = 86_400.0


def a_job(
    *,
    status: RLVRJobStatus | None = None,
    deleted_at: float | None = None,
    finalizers: tuple[str, ...] = (contract.FINALIZER,),
    annotations: dict[str, str] | None = None,
    generation: int = 1,
    managed_by: str = contract.DEFAULT_MANAGER,
    **sections: Any,
) -> JobSeen:
    """A job of one learner, one rollout and one reward pod; sections replace those of the spec."""
    spec = RLVRJobSpec.model_validate(a_job_dict(**sections)["spec"])
    return JobSeen(
        namespace="research",
        name="sums",
        uid="job-uid",
        generation=generation,
        created_at=LONG_AGO,
        deleted_at=deleted_at,
        finalizers=finalizers,
        annotations=annotations or {},
        managed_by=managed_by,
        spec=spec,
        status=status or RLVRJobStatus(),
    )


def a_status(
    *,
    attempt: int = 0,
    restarts: int = 0,
    started_at: float | None = LONG_AGO,
    running_at: float | None = LONG_AGO,
    conditions: Iterable[Condition] = (),
    remembered: dict[str, Any] | None = None,
    **fields: Any,
) -> RLVRJobStatus:
    """The status of a job that has run for an hour; `remembered` are fields of the present attempt."""
    times = {"started_at": started_at, "running_at": running_at}
    written = {name: rfc3339(at) for name, at in times.items() if at is not None}
    return RLVRJobStatus(
        attempt=attempt,
        restarts=restarts,
        current_attempt=AttemptStatus(**{**written, **(remembered or {})}),
        start_time=rfc3339(LONG_AGO),
        conditions=tuple(conditions),
        **{"active_since": rfc3339(LONG_AGO), **fields},
    )


def a_condition(kind: Any, status: Any = "True", *, since: float = LONG_AGO, reason: str = "Told") -> Condition:
    return Condition(type=kind, status=status, reason=reason, last_transition_time=rfc3339(since))


def a_pod(role: Role = "rollout", index: int = 0, *, attempt: int = 0, **fields: Any) -> PodSeen:
    """A pod that has been ready for an hour."""
    name = name_of("sums", role, index, attempt)
    known = {
        "name": name,
        "uid": f"uid-{name}",
        "phase": "Running",
        "is_ready": True,
        "ready_since": LONG_AGO,
        "created_at": LONG_AGO,
        "node": "node-0",
        "is_placed": True,
        "placed_at": LONG_AGO,
    }
    return PodSeen(role=role, index=index, attempt=attempt, **{**known, **fields})


def a_pending_pod(role: Role = "rollout", index: int = 0, **fields: Any) -> PodSeen:
    """A pod without a node."""
    bare = {
        "phase": "Pending",
        "is_ready": False,
        "ready_since": None,
        "node": "",
        "is_placed": False,
        "placed_at": None,
    }
    return a_pod(role, index, **{**bare, **fields})


def an_unready_pod(role: Role = "rollout", index: int = 0, **fields: Any) -> PodSeen:
    """A pod on its node that has never been ready."""
    return a_pod(role, index, **{"is_ready": False, "ready_since": None, **fields})


def a_failed_pod(role: Role = "rollout", index: int = 0, *, code: int = 1, at: float = NOW, **fields: Any) -> PodSeen:
    """A pod whose one container ended."""
    end = an_exit(code, container=role, at=at, reason=fields.pop("reason", "Error"), message=fields.pop("message", ""))
    phase = "Succeeded" if code == 0 else "Failed"
    return an_unready_pod(role, index, **{"phase": phase, "exits": (end,), **fields})


def a_looping_pod(
    role: Role = "rollout", index: int = 0, *, restarts: int = 5, at: float = NOW, **fields: Any
) -> PodSeen:
    """A pod whose container ends as often as the kubelet starts it."""
    waiting = Waiting(container=role, image="registry.example/engine:1", reason="CrashLoopBackOff")
    end = an_exit(1, container=role, at=at, is_last=True)
    return an_unready_pod(role, index, restarts=restarts, waiting=(waiting,), exits=(end,), **fields)


def an_exit(code: int, *, container: str = "learner", at: float = NOW, ran: float = 30.0, **fields: Any) -> Exit:
    return Exit(container=container, code=code, started_at=at - ran, finished_at=at, **fields)


def a_pod_without_its_image(
    role: Role = "rollout", index: int = 0, *, reason: str = "ImagePullBackOff", **more: Any
) -> PodSeen:
    waiting = Waiting(container=role, image="registry.example/no:1", reason=reason, message="not found")
    return an_unready_pod(role, index, phase="Pending", waiting=(waiting,), **more)


BASE = (a_pod("learner"), a_pod("rollout"), a_pod("reward"))
"""Everything that `a_job()` needs."""


def heard(
    *,
    step: int = 5,
    attempt: int = 0,
    at: float = NOW,
    checkpoint: int | None = None,
    is_waiting: bool = False,
    error: str | None = None,
    **fields: Any,
) -> ProgressSeen:
    saved = CheckpointProgress(step=checkpoint, saved_at=at, is_waiting=is_waiting, last_error=error)
    known = {"total_steps": 60, "updated_at": at, "checkpoint": saved, **fields}
    return ProgressSeen(progress=Progress(attempt=attempt, step=step, **known), heard_at=at)


def a_cluster(job: JobSeen, *pods: PodSeen, now: float = NOW, **fields: Any) -> Observed:
    return Observed(job=job, pods=pods, now=now, **fields)


def facts(job: JobSeen, *pods: PodSeen, **fields: Any) -> Facts:
    return Facts(seen=a_cluster(job, *pods, **fields))


def without(pods: Iterable[PodSeen], role: Role) -> tuple[PodSeen, ...]:
    return tuple(pod for pod in pods if pod.role != role)


def terminating(pod: PodSeen, *, until: float = NOW + 30) -> PodSeen:
    return replace(pod, deleted_at=until, is_ready=False)
