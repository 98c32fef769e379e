"""Rollouts that fail again and again.

Counted in failures that no ten ready minutes have earned back, which the pods carry: a container that the kubelet had
to start again, or a failed pod.  One rollout that cannot work reaches the limit in about ten minutes: five restarts by
the kubelet (after 0, 10, 20, 40, 80 s), a new pod at once, five more.
"""

from __future__ import annotations

from typing import Final

from rlvr_operator.lifecycle.explain import trouble
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Ending, Intent
from rlvr_operator.lifecycle.replacement import failures_in_a_row, own_failures

MOST_FAILURES: Final = 10
"""Per wanted rollout."""


def rollouts_keep_failing(facts: Facts) -> Intent | None:
    """Fail when the job cannot go on for it; with enough rollouts ready it does go on."""
    if not is_unstable(facts) or facts.ready("rollout") >= facts.needed("rollout"):
        return None
    failed = [pod for pod in facts.pods_of("rollout") if own_failures(pod)]
    why = f"; {trouble(failed[0])}" if failed else ""
    message = f"rollouts failed {num_failures(facts)} times without running for 10 minutes in between{why}"
    return Intent(ending=Ending(kind="Failed", reason="RolloutUnstable", message=message))


def is_unstable(facts: Facts) -> bool:
    return num_failures(facts) > MOST_FAILURES * facts.wanted("rollout")


def num_failures(facts: Facts) -> int:
    """Recent failures of all rollouts."""
    newest = {pod.index: pod for pod in sorted(facts.pods_of("rollout"), key=lambda pod: pod.attempt)}
    return sum(failures_in_a_row(facts, pod) for pod in newest.values())
