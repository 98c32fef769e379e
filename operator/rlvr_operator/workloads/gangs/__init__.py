"""Gangs: all learners, the minimum of rollouts and one reward pod start together; further replicas are beside the gang.

A gang counts any of its members, so only pods without which nothing works are in it: sixteen rollouts of a larger group
would satisfy its minimum while the learner waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads.gangs.base import Adapter, Gang
from rlvr_operator.workloads.gangs.coscheduling import COSCHEDULING
from rlvr_operator.workloads.gangs.kueue import KUEUE
from rlvr_operator.workloads.gangs.native import NATIVE
from rlvr_operator.workloads.gangs.none import NONE
from rlvr_operator.workloads.gangs.volcano import VOLCANO
from rlvr_operator.workloads.kit import Member
from rlvr_operator.workloads.names import minimum_rollouts, spec_of

ADAPTERS: Final[Mapping[str, Adapter]] = {
    "none": NONE,
    "kueue": KUEUE,
    "coscheduling": COSCHEDULING,
    "volcano": VOLCANO,
    "native": NATIVE,
}
GANG_APIS: Final[Mapping[str, str]] = {api: adapter.kind for adapter in ADAPTERS.values() for api in adapter.apis}
"""Kinds that discovery should look for, by group/version."""


def adapter_of(job: JobSeen) -> Adapter:
    return ADAPTERS[spec_of(job).scheduling.gang]


def gang_of(job: JobSeen) -> Gang:
    spec = spec_of(job)
    return Gang(
        name=f"{job.name}-{job.uid[:8]}",
        size=spec.learner.nodes + minimum_rollouts(spec) + 1,
        queue=spec.scheduling.queue_name,
        priority_class=spec.scheduling.priority_class_name,
    )


def is_in_gang(job: JobSeen, member: Member) -> bool:
    in_gang = {"learner": spec_of(job).learner.nodes, "rollout": minimum_rollouts(spec_of(job)), "reward": 1}
    return member.index < in_gang[member.role]
