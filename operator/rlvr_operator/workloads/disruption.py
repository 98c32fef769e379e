"""How many pods a drain may take at a time.

Rollouts: one, so that sampling goes on while nodes are drained one after the other; with a single replica a budget
would change nothing.  Learners have none: a learner saves a checkpoint when it is asked to stop and the restart is not
counted, whereas a budget that refuses would block a drain for as long as the job runs.  Rewards have none: the
coordinator asks again.  Pods that are not ready never block a drain.
"""

from __future__ import annotations

from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads.names import child_metadata, most_rollouts, selector_of, spec_of


def budgets(job: JobSeen) -> tuple[Manifest, ...]:
    """The budget of the rollouts, if there can be more than one."""
    if most_rollouts(spec_of(job)) == 1:
        return ()
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": child_metadata(job, f"{job.name}-rollout"),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": selector_of(job, "rollout")},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
    return (budget,)
