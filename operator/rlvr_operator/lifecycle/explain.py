"""Why a pod is not up, in one sentence: which pod, which image, the scheduler's own words.  Pure text.

Sentences carry no age or countdown: they would change, and be written, with every look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.observed import Exit, PodSeen, Refusal, Role

_LONGEST: Final = 400
IMAGE_REASONS: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ImageInspectError",
        "ErrImageNeverPull",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
NAME_TAKEN: Final = 409
"""HTTP code of a refusal because somebody else's object has the name."""
Question = Callable[[PodSeen], str | None]


def trouble(pod: PodSeen) -> str:
    """Why the pod is not ready; the first question with an answer tells."""
    return next(said for question in QUESTIONS if (said := question(pod)))


def trouble_of(facts: Facts, role: Role) -> str:
    """The worst that can be said about a role that is not at strength."""
    present = [pod for pod in facts.present(role) if not pod.is_ready or pod.is_terminating]
    if present:
        return trouble(min(present, key=_gravity))
    if role == "learner" and facts.former_learners:
        return f"pod {facts.former_learners[0].name} of the attempt before has to go first"
    if facts.problems:
        return "the job is not valid"
    own = (no for no in facts.refusals if no.what.startswith(f"Pod/{facts.job.name}-{role}-"))
    refusal = next(iter((*own, *facts.refusals)), None)
    return refused(refusal) if refusal else "pods are being made"


def refused(refusal: Refusal) -> str:
    """What the API server said no to; a name that is taken speaks for itself."""
    return refusal.message if refusal.code == NAME_TAKEN else f"{refusal.what} was refused: {refusal.message}"


def ended(end: Exit) -> str:
    """How a container ended."""
    reason = f" ({end.reason})" if end.reason not in {"", "Error", "Completed"} else ""
    last = end.message.strip().splitlines()[-1:]
    said = f": {last[0].strip()}" if last else ""
    return f"container {end.container} exited with code {end.code}{reason}{said}"[:_LONGEST]


def is_image_trouble(pod: PodSeen) -> bool:
    return any(waiting.reason in IMAGE_REASONS for waiting in pod.waiting)


def _is_leaving(pod: PodSeen) -> str | None:
    why = f" ({pod.disruption})" if pod.disruption else ""
    return f"pod {pod.name} is being deleted{why}" if pod.is_terminating else None


def _waits_for_admission(pod: PodSeen) -> str | None:
    return f"pod {pod.name} waits to be admitted (scheduling gate)" if pod.is_gated else None


def _cannot_be_placed(pod: PodSeen) -> str | None:
    return f"pod {pod.name} cannot be placed: {pod.unschedulable}" if pod.unschedulable else None


def _loops(pod: PodSeen) -> str | None:
    """The kubelet says that it waits; people want to know for what."""
    if not any(waiting.reason == "CrashLoopBackOff" for waiting in pod.waiting) or not pod.exits:
        return None
    last = max(pod.exits, key=lambda end: end.finished_at or 0.0)
    return f"pod {pod.name}: {ended(last)}, and again whenever it is started"


def _cannot_start(pod: PodSeen) -> str | None:
    for waiting in pod.waiting:
        of = f" of image {waiting.image}" if waiting.reason in IMAGE_REASONS else ""
        said = f": {waiting.message}" if waiting.message else ""
        return f"pod {pod.name}, container {waiting.container}: {waiting.reason}{of}{said}"[:_LONGEST]
    return None


def _was_disrupted(pod: PodSeen) -> str | None:
    return f"pod {pod.name} was disrupted ({pod.disruption})" if pod.is_disrupted else None


def _has_failed(pod: PodSeen) -> str | None:
    exits = present_exits(pod)
    if exits:
        return f"pod {pod.name}: {ended(exits[0])}"
    return f"pod {pod.name} has {pod.phase.lower()}" if pod.has_ended else None


def _is_not_placed(pod: PodSeen) -> str | None:
    return None if pod.is_placed else f"pod {pod.name} waits for the scheduler"


def _is_starting(pod: PodSeen) -> str | None:
    return f"pod {pod.name} on node {pod.node} is not ready yet"


QUESTIONS: Final[tuple[Question, ...]] = (
    _is_leaving,
    _waits_for_admission,
    _cannot_be_placed,
    _loops,
    _cannot_start,
    _was_disrupted,
    _has_failed,
    _is_not_placed,
    _is_starting,
)
_GRAVITY: Final[tuple[Question, ...]] = (
    _loops,
    _cannot_start,
    _has_failed,
    _was_disrupted,
    _cannot_be_placed,
    _is_leaving,
    _waits_for_admission,
    _is_not_placed,
    _is_starting,
)


def present_exits(pod: PodSeen) -> tuple[Exit, ...]:
    """Ends of containers that nothing has started again, the earliest first."""
    present = (end for end in pod.exits if not end.is_last)
    return tuple(sorted(present, key=lambda end: (end.finished_at or 0.0, end.container)))


def first_failures(pods: Iterable[PodSeen]) -> tuple[tuple[PodSeen, Exit], ...]:
    """Non-zero ends of containers over all pods, the earliest first."""
    found = ((pod, end) for pod in pods for end in present_exits(pod) if end.code != 0)
    return tuple(sorted(found, key=lambda item: (item[1].finished_at or 0.0, item[0].name)))


def _gravity(pod: PodSeen) -> tuple[int, int]:
    """Which sentence people should read first when several pods have one."""
    place = next(place for place, question in enumerate(_GRAVITY) if question(pod))
    return place, pod.index
