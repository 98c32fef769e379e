"""When time alone could change the answer, reconcile says when."""

import pytest

from operator_builders import (
    BASE,
    LONG_AGO,
    NOW,
    a_condition,
    a_failed_pod,
    a_job,
    a_pod,
    a_status,
    an_unready_pod,
    facts,
    without,
)
from rlvr_operator.alarms import look_again_after
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.observed import Refusal

TWO = {"nodes": 2, "backend": {"deepspeed": {}}}
NEVER_READY = a_status(running_at=None)
REFUSED = Refusal(what="Pod/x", code=403, message="no", at=NOW - 290)
CASES: dict[str, tuple[Facts, float]] = {
    "the start-up deadline": (
        facts(a_job(status=NEVER_READY, limits={"startupDeadlineSeconds": 3603}), an_unready_pod("learner"), *BASE[1:]),
        3,
    ),
    "ranks that run on alone": (
        facts(
            a_job(status=a_status(), learner=TWO),
            a_failed_pod("learner", 0, code=0, at=NOW - 296),
            a_pod("learner", 1),
            *without(BASE, "learner"),
        ),
        4,
    ),
    "a pod on a silent node": (
        facts(
            a_job(status=a_status()),
            *without(BASE, "reward"),
            an_unready_pod("reward", unready_since=NOW - 55, node="n"),
            lost_nodes=frozenset({"n"}),
        ),
        5,
    ),
    "a refusal that is out of date": (facts(a_job(status=a_status()), *BASE, refusals=(REFUSED,)), 10),
    "less than a second, for clocks differ": (
        facts(a_job(status=a_status()), *without(BASE, "rollout"), a_failed_pod(failures=1, at=NOW - 9.5)),
        1,
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_looks_again_for(case: str) -> None:
    known, seconds = CASES[case]

    assert look_again_after(known) == seconds


def test_what_is_past_rings_no_more() -> None:
    job = a_job(status=a_status(conditions=(a_condition("Failed"),)))

    assert look_again_after(facts(job, a_failed_pod(at=LONG_AGO))) is None
    assert look_again_after(facts(a_job(status=a_status()), *BASE)) is None


def test_a_suspended_job_waits_for_nothing() -> None:
    job = a_job(suspend=True, status=a_status(), limits={"activeDeadlineSeconds": 9999})

    assert look_again_after(facts(job, *BASE, refusals=(REFUSED,))) is None
