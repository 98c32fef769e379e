"""Rollout and reward pods: one per index, replaced when it fails, with back-off.

Containers that end are started again in place by the kubelet; a pod is replaced when that does not help, or when the
pod itself has failed.  What is remembered lives in the pods: incarnation and failures in a row.  A failed pod stays,
for its logs, until its back-off is over; then it is deleted and its successor made in one plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rlvr_operator.lifecycle.explain import trouble
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import deletions
from rlvr_operator.lifecycle.lost import is_disrupted, is_lost
from rlvr_operator.observed import PodSeen, Role
from rlvr_operator.plan import Event, PodDeletion
from rlvr_operator.workloads import Member

MOST_RESTARTS: Final = 5
"""The kubelet starts containers again in place, with a back-off of its own; after so many the pod is replaced."""
STABLE_SECONDS: Final = 600.0
"""After so long a life the failures before it are forgotten."""
FIRST_DELAY_SECONDS: Final = 10.0
LONGEST_DELAY_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one role needs."""

    delete: tuple[PodDeletion, ...] = ()
    create: tuple[Member, ...] = ()
    events: tuple[Event, ...] = ()


def kept_at_strength(facts: Facts, role: Role) -> Change:
    """One living pod per index below the wanted number, none above."""
    wanted = facts.wanted(role)
    by_index: dict[int, list[PodSeen]] = {index: [] for index in range(wanted)}
    for pod in sorted(facts.pods_of(role), key=lambda pod: pod.attempt):
        by_index.setdefault(pod.index, []).append(pod)
    surplus = [pod for index in sorted(by_index, reverse=True) if index >= wanted for pod in by_index[index]]
    changes = [_at_index(facts, Member(role=role, index=index), by_index[index]) for index in range(wanted)]
    scaled = deletions(tuple(surplus), reason="scaled down")
    return Change(
        delete=(*scaled, *(item for change in changes for item in change.delete)),
        create=tuple(item for change in changes for item in change.create),
        events=tuple(item for change in changes for item in change.events),
    )


def replace_at(pod: PodSeen) -> float:
    """When a failed pod's back-off is over."""
    return ended_at(pod) + delay(earlier_failures(pod))


def delay(failures: int) -> float:
    """Seconds before the next incarnation after so many failures in a row before this one: 0, 10, 20, ... 300."""
    if failures == 0:
        return 0.0
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(failures - 1, 10), LONGEST_DELAY_SECONDS)


def earlier_failures(pod: PodSeen) -> int:
    """Failures in a row before the pod's own; a long last life has earned them back."""
    lives = [end.finished_at - end.started_at for end in pod.exits if end.finished_at and end.started_at]
    return 0 if lives and max(lives) >= STABLE_SECONDS else pod.failures


def own_failures(pod: PodSeen) -> int:
    """Failures of this incarnation; its containers' restarts of happier days do not count."""
    if is_looping(pod):
        return min(max(pod.restarts, 1), MOST_RESTARTS)
    return int(pod.has_ended and not pod.is_disrupted)


def failures_in_a_row(facts: Facts, pod: PodSeen) -> int:
    """Failures that no long ready life has earned back."""
    is_stable = pod.ready_since is not None and facts.now - pod.ready_since >= STABLE_SECONDS
    return 0 if is_stable else earlier_failures(pod) + own_failures(pod)


def has_failed(pod: PodSeen) -> bool:
    """The kubelet will not, or had better not, start its containers again."""
    return pod.has_ended or (is_looping(pod) and pod.restarts >= MOST_RESTARTS)


def is_looping(pod: PodSeen) -> bool:
    return any(waiting.reason == "CrashLoopBackOff" for waiting in pod.waiting)


def ended_at(pod: PodSeen) -> float:
    """When the pod failed, as far as anybody wrote that down."""
    times = [end.finished_at for end in pod.exits if end.finished_at is not None]
    return max(times, default=pod.placed_at or pod.created_at)


def _at_index(facts: Facts, first: Member, pods: list[PodSeen]) -> Change:
    """What one index needs, given its pods by incarnation and what its first pod would be."""
    if not pods:
        return Change(create=(first,))
    *older, newest = pods
    former = deletions(tuple(older), reason=f"replaced by {newest.name}")
    if has_failed(newest):
        return _replaced(facts, newest, former)
    if is_lost(facts, newest):
        return Change(delete=(*former, *deletions((newest,), reason=f"its node {newest.node} is lost")))
    return Change(delete=former)


def _replaced(facts: Facts, pod: PodSeen, former: tuple[PodDeletion, ...]) -> Change:
    is_free = is_disrupted(facts, pod) or pod.is_terminating
    if not is_free and facts.now < replace_at(pod):
        return Change(delete=former)
    why = trouble(pod)
    successor = Member(
        role=pod.role,
        index=pod.index,
        attempt=pod.attempt + 1,
        failures=earlier_failures(pod) + (0 if is_free else own_failures(pod)),
    )
    event = Event(type="Normal" if is_free else "Warning", reason=f"{pod.role.capitalize()}Replaced", message=why)
    return Change(delete=(*former, *deletions((pod,), reason=why)), create=(successor,), events=(event,))


def replacement_times(facts: Facts) -> Iterator[float]:
    """When back-offs end."""
    return (replace_at(pod) for role in REPLACED_ROLES for pod in facts.pods_of(role) if has_failed(pod))


REPLACED_ROLES: Final[tuple[Role, ...]] = ("rollout", "reward")
