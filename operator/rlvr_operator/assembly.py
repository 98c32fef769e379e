"""From an intent to a plan: manifests, the status, events.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from rlvr_api import RLVRJobStatus
from rlvr_api.status import ConditionType
from rlvr_operator.alarms import look_again_after
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Intent
from rlvr_operator.lifecycle.lost import forced
from rlvr_operator.lifecycle.postponed import is_due
from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import ChildDeletion, Event, Manifest, Plan, PodDeletion
from rlvr_operator.status import is_worth_writing, next_status
from rlvr_operator.workloads import HASH, Kit, child_key, children, conflicts, gang_problem, gang_remains, pod


def problems_of(job: JobSeen, kit: Kit) -> tuple[str, ...]:
    """Why nothing may be built for the job: its spec, its pod templates, or what the cluster lacks."""
    if job.spec is None:
        return job.problems
    lack = gang_problem(job, kit)
    return (*conflicts(job.spec), *((lack,) if lack else ()))


def assembled(facts: Facts, intent: Intent, kit: Kit) -> Plan:
    """Everything that `intent` means, less what is so already."""
    if intent.is_hands_off:
        return Plan()
    old, new = facts.status, next_status(facts, intent)
    is_news = is_worth_writing(facts, new)
    wanted = children(facts.job, kit) if intent.keeps_children else ()
    stale = tuple(child for child in wanted if _differs(facts, child))
    return Plan(
        finalizer=intent.finalizer,
        delete_pods=tuple(_once((*forced(facts), *intent.delete))),
        delete_children=tuple(_unwanted(facts, wanted)) + _gang(facts, intent, kit),
        apply=tuple(child for child in stale if is_due(facts, child)),
        later=tuple(child for child in stale if not is_due(facts, child)) if intent.create else (),
        create=tuple(pod(facts.job, kit, member) for member in intent.create),
        status=new if is_news else None,
        events=(*intent.events, *(_news(old, new) if is_news else ())),
        delete_job=intent.delete_job,
        look_again_seconds=look_again_after(facts.with_status(new if is_news else old)),
    )


def _once(deletions: tuple[PodDeletion, ...]) -> Iterator[PodDeletion]:
    """The first deletion of each pod."""
    return iter({deletion.uid: deletion for deletion in reversed(deletions)}.values())


def _differs(facts: Facts, child: Manifest) -> bool:
    return bool(facts.seen.applied.get(child_key(child)) != child["metadata"]["annotations"][HASH])


def _unwanted(facts: Facts, wanted: tuple[Manifest, ...]) -> Iterator[ChildDeletion]:
    """Children of an earlier form of the job; none while nothing is wanted, for then they are only left alone."""
    kept = {child_key(child) for child in wanted}
    for key in facts.seen.applied:
        kind, _, name = key.partition("/")
        if wanted and key not in kept:
            yield ChildDeletion(kind=kind, name=name)


def _gang(facts: Facts, intent: Intent, kit: Kit) -> tuple[ChildDeletion, ...]:
    """What a gang scheduler made for the job, once that is over."""
    return gang_remains(facts.job, kit) if intent.lets_gang_go and facts.job.spec is not None else ()


def _news(old: RLVRJobStatus, new: RLVRJobStatus) -> Iterator[Event]:
    """Answers that people want to hear of when they change."""
    before = {condition.type: condition for condition in old.conditions}
    for condition in new.conditions:
        was = before.get(condition.type)
        has_changed = was is None or (was.status, was.reason) != (condition.status, condition.reason)
        kind = _TOLD.get((condition.type, condition.status))
        if has_changed and kind and condition.reason not in _SILENT:
            yield Event(type=kind, reason=_WORDS.get(condition.type, condition.reason), message=condition.message)


_SILENT: Final = frozenset({"Placing", "Gated", "Suspended"})
_WORDS: Final[Mapping[ConditionType, str]] = {"Complete": "Complete", "Failed": "Failed", "Suspended": "Suspended"}
_TOLD: Final[Mapping[tuple[ConditionType, str], Literal["Normal", "Warning"]]] = {
    ("Validated", "False"): "Warning",
    ("Queued", "True"): "Normal",
    ("Scheduled", "False"): "Warning",
    ("Running", "True"): "Normal",
    ("CheckpointHealthy", "False"): "Warning",
    ("Suspended", "True"): "Normal",
    ("Complete", "True"): "Normal",
    ("Failed", "True"): "Warning",
}
