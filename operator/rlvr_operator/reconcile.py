"""READ THIS FIRST.  What to do about a job: the first step of its life that has an answer decides.

Pure: looks at what is, never at what changed, so that a second look at the same world asks for nothing.  No clock, no
network, no memory but the job's status and its pods.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rlvr_operator.assembly import assembled, problems_of
from rlvr_operator.lifecycle.admission import waiting
from rlvr_operator.lifecycle.deadlines import too_long, too_slow_a_start
from rlvr_operator.lifecycle.deletion import deleted
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.finished import completed, finished
from rlvr_operator.lifecycle.guards import belongs_to_another, cannot_be_built, is_out_of_date, is_unreadable
from rlvr_operator.lifecycle.images import image_is_missing
from rlvr_operator.lifecycle.instability import rollouts_keep_failing
from rlvr_operator.lifecycle.intent import Intent
from rlvr_operator.lifecycle.restart import learner_is_lost
from rlvr_operator.lifecycle.strength import running
from rlvr_operator.lifecycle.suspension import resumed, suspended
from rlvr_operator.observed import Observed
from rlvr_operator.plan import Plan
from rlvr_operator.workloads import Kit

Step = Callable[[Facts], Intent | None]

LIFECYCLE: Final[tuple[Step, ...]] = (
    belongs_to_another,
    is_out_of_date,
    deleted,
    finished,
    is_unreadable,
    completed,
    suspended,
    cannot_be_built,
    resumed,
    waiting,
    too_long,
    image_is_missing,
    too_slow_a_start,
    rollouts_keep_failing,
    learner_is_lost,
    running,
)


def reconcile(seen: Observed, kit: Kit) -> Plan:
    """What to do now; an empty plan when the world is as it should be."""
    facts = Facts(seen=seen, problems=problems_of(seen.job, kit))
    intent = next(answer for step in LIFECYCLE if (answer := step(facts)) is not None)
    return assembled(facts, intent, kit)
