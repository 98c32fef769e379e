"""Jobs that are not ours to act upon, or not now."""

from __future__ import annotations

from rlvr_api.contract import DEFAULT_MANAGER
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Intent


def belongs_to_another(facts: Facts) -> Intent | None:
    """Another controller acts on this job."""
    return Intent(is_hands_off=True) if facts.job.managed_by != DEFAULT_MANAGER else None


def is_out_of_date(facts: Facts) -> Intent | None:
    """Learner pods of an attempt that the job's status does not know: we look at an old copy of the job."""
    is_old = any(pod.attempt > facts.status.attempt for pod in facts.pods_of("learner"))
    return Intent(is_hands_off=True) if is_old else None


def is_unreadable(facts: Facts) -> Intent | None:
    """The spec breaks rules that the API server does not know.  Pods that run already are left alone."""
    return Intent() if facts.job.spec is None else None


def cannot_be_built(facts: Facts) -> Intent | None:
    """Pod templates that do not fit, or a gang that the cluster does not have.  What runs already is left alone."""
    return Intent() if facts.problems else None
