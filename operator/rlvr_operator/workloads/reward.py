"""Reward pods: verifiers in child processes, and possibly model-written code inside those.

Nothing in the pod is worth stealing, nothing leads out of it (`network.py`), and a RuntimeClass may put a sandbox under
it.  A container that ends is started again in its pod; verdicts that were being made are asked for again.
"""

from __future__ import annotations

from typing import Any, Final

from rlvr_api import contract
from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads.kit import Kit, Member
from rlvr_operator.workloads.names import spec_of
from rlvr_operator.workloads.pods import ONE_THREAD, PYTHON, base_pod, container, environment, probes

GRACE_SECONDS: Final = 30
_WORKER_GIB: Final = 2
"""What a verifier process may take before the trainer ends it."""


def reward_pod(job: JobSeen, kit: Kit, member: Member) -> dict[str, Any]:
    """The spec of one replica's pod."""
    spec = spec_of(job)
    port = contract.PORT_REWARD
    service = container(
        "reward",
        image=kit.reward_image,
        command=(*PYTHON, "reward"),
        environment=environment(member, port=port, told=ONE_THREAD),
        ports=[{"name": "reward", "containerPort": port, "protocol": "TCP"}],
        resources=_resources(spec.reward.workers),
        **probes(port, startup_seconds=spec.limits.startup_deadline_seconds),
    )
    pod = base_pod(job, member, containers=[service], grace_seconds=GRACE_SECONDS)
    if spec.reward.runtime_class_name is not None:
        pod["runtimeClassName"] = spec.reward.runtime_class_name
    return pod


def _resources(workers: int) -> dict[str, Any]:
    """A limit on memory, unlike other roles: what runs here is not ours."""
    return {
        "requests": {"cpu": f"{100 * workers}m", "memory": f"{256 + 128 * workers}Mi"},
        "limits": {"memory": f"{_WORKER_GIB * workers + 1}Gi"},
    }
