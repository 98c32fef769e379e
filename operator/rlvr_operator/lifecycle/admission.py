"""A job whose pods a queue holds back.  It waits whole: no deadline runs, nothing counts as a failure."""

from __future__ import annotations

from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Intent
from rlvr_operator.lifecycle.strength import running


def waiting(facts: Facts) -> Intent | None:
    """Keep the pods there for the queue to see; it removes their gates when it admits the job."""
    return running(facts) if is_queued(facts) else None


def is_queued(facts: Facts) -> bool:
    """Learner pods are gated, and none has run."""
    learners = facts.learners
    return any(pod.is_gated for pod in learners) and not any(pod.is_placed for pod in learners)
