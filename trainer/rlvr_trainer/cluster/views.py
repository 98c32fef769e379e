"""What a user reads about a job.  Pure: objects as the API server gives them in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from rlvr_api.contract import DEFAULT_MANAGER
from rlvr_trainer.cluster.requests import Object
from rlvr_trainer.cluster.texts import columns, since

ROLES: Final = ("learner", "rollout", "reward")
MOST_EVENTS: Final = 10
FINISHED: Final = frozenset({"Succeeded", "Failed"})


def table_text(table: Object, *, wide: bool, everywhere: bool) -> str:
    """A metav1.Table as `kubectl get` prints it; empty without rows."""
    if not table["rows"]:
        return ""
    shown = [wide or not column["priority"] for column in table["columnDefinitions"]]
    head = _shown([column["name"].upper() for column in table["columnDefinitions"]], shown)
    rows = [_shown(row["cells"], shown) for row in table["rows"]]
    if everywhere:
        places = [row["object"]["metadata"]["namespace"] for row in table["rows"]]
        head, rows = ["NAMESPACE", *head], [[place, *row] for place, row in zip(places, rows, strict=True)]
    return columns([head, *rows])


def phase_of(job: Object) -> str:
    """One word; the operator's, unless the job is on its way out."""
    if job["metadata"].get("deletionTimestamp"):
        return "Deleting"
    return str(_status(job).get("phase") or "New")


def why(job: Object) -> str:
    """Why the job is where it is, in one sentence; empty when all is well."""
    status, metadata = _status(job), job["metadata"]
    manager = job["spec"].get("managedBy", DEFAULT_MANAGER)
    if not status and manager != DEFAULT_MANAGER:
        return f"spec.managedBy is {manager!r}: that controller acts on this job, not the RLVR operator."
    if not status:
        return (
            "no operator has looked at this job yet: see whether one runs in the cluster and watches namespace "
            f"{metadata['namespace']}."
        )
    seen, wanted = status.get("observedGeneration", 0), metadata.get("generation", 0)
    if seen < wanted and phase_of(job) not in {*FINISHED, "Deleting"}:
        unseen = f"the operator has not seen the newest edit yet (generation {wanted}, it saw {seen})."
        return f"{unseen} {_message(job)}".strip()
    return _message(job)


def summary(job: Object) -> str:
    """One line about a job, which changes when something worth a look does."""
    status = _status(job)
    progress, checkpoint = status.get("progress") or {}, status.get("checkpoint") or {}
    rollout = (status.get("roles") or {}).get("rollout") or {}
    facts = [
        phase_of(job),
        f"step {progress['step']}/{progress.get('totalSteps', '?')}" if "step" in progress else "",
        f"reward {progress['reward']:.3f}" if "reward" in progress else "",
        f"rollouts {rollout.get('ready', 0)}/{rollout['desired']}" if "desired" in rollout else "",
        f"restarts {status['restarts']}" if status.get("restarts") else "",
        f"checkpoint {checkpoint['step']}" if "step" in checkpoint else "",
        _message(job) if phase_of(job) != "Running" else "",
    ]
    return "  ".join([job["metadata"]["name"], *(fact for fact in facts if fact)])


def status_text(job: Object, events: Sequence[Object] | None, now: float) -> str:
    """Everything that `rlvr status` says; `events` None means that the user may not list them."""
    parts = [columns(_head(job, now)), columns(_roles(job))]
    conditions = list(_conditions(job, now))
    if conditions:
        parts.append(columns([("CONDITION", "STATUS", "SINCE", "REASON", "MESSAGE"), *conditions]))
    if events is None:
        parts.append("Events: your role may not list them.")
    elif events:
        parts.append(columns([("EVENT", "AGE", "COUNT", "REASON", "MESSAGE"), *_events(events, now)]))
    return "\n\n".join(parts)


def _head(job: Object, now: float) -> Iterator[tuple[str, object]]:
    status, metadata = _status(job), job["metadata"]
    yield (
        "Job",
        f"{metadata['namespace']}/{metadata['name']}, submitted {since(metadata['creationTimestamp'], now)} ago",
    )
    yield "Phase", phase_of(job)
    if reason := why(job):
        yield "Why", reason
    if progress := status.get("progress"):
        yield "Step", _progress(progress, now)
    if checkpoint := _checkpoint(status.get("checkpoint") or {}, now):
        yield "Checkpoint", checkpoint
    if "attempt" in status:
        budget = job["spec"].get("learner", {}).get("restart", {}).get("maxRestarts")
        allowed = "" if budget is None else f" of {budget}"
        yield "Attempt", f"{status['attempt']}; {status.get('restarts', 0)}{allowed} restarts used"
    if queue := job["spec"].get("scheduling", {}).get("queueName"):
        yield "Queue", queue


def _progress(progress: Object, now: float) -> str:
    facts = [f"{progress.get('step', 0)} of {progress.get('totalSteps', '?')}"]
    words = (("reward", "reward"), ("accuracy", "accuracy"), ("evalAccuracy", "held-out accuracy"))
    facts += [f"{word} {progress[key]:.3f}" for key, word in words if key in progress]
    heard = since(progress.get("updatedAt"), now)
    return ", ".join(facts) + (f" (heard {heard} ago)" if heard else "")


def _checkpoint(checkpoint: Object, now: float) -> str:
    parts = []
    if "step" in checkpoint:
        saved = since(checkpoint.get("time"), now)
        parts.append(f"step {checkpoint['step']}{f', {saved} ago' if saved else ''}: {checkpoint.get('uri', '')}")
    if "lastError" in checkpoint:
        parts.append(f"the store said: {checkpoint['lastError']}")
    return "; ".join(parts)


def _roles(job: Object) -> Iterator[Sequence[object]]:
    roles = _status(job).get("roles") or {}
    yield "ROLE", "READY", "DESIRED", "FAILED", "REPLACED"
    for role in ROLES:
        seen = roles.get(role) or {}
        yield (role, *(seen.get(key, 0) for key in ("ready", "desired", "failed", "replaced")))


def _conditions(job: Object, now: float) -> Iterator[Sequence[object]]:
    for condition in _status(job).get("conditions") or ():
        yield (
            condition["type"],
            condition["status"],
            since(condition.get("lastTransitionTime"), now),
            condition.get("reason", ""),
            _one_line(condition.get("message", "")),
        )


def _events(events: Sequence[Object], now: float) -> Iterator[Sequence[object]]:
    """The newest ones, oldest first."""
    for event in sorted(events, key=_time_of)[-MOST_EVENTS:]:
        count = (event.get("series") or {}).get("count") or event.get("count") or 1
        yield event.get("type"), since(_time_of(event), now), count, event.get("reason"), _one_line(event["message"])


def _time_of(event: Object) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((str(time) for time in times if time), str(event["metadata"]["creationTimestamp"]))


def _message(job: Object) -> str:
    """The operator's own sentence, or that of the first condition that says no."""
    status = _status(job)
    if "message" in status:
        return _one_line(status["message"])
    said = (item for item in status.get("conditions") or () if item["status"] == "False" and item.get("message"))
    return next((_one_line(item["message"]) for item in said), "")


def _status(job: Object) -> dict[str, Any]:
    return job.get("status") or {}


def _shown(cells: Sequence[Any], shown: Sequence[bool]) -> list[Any]:
    return [cell for cell, is_shown in zip(cells, shown, strict=True) if is_shown]


def _one_line(text: str) -> str:
    return " ".join(text.split())
