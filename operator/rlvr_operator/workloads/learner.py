"""Learner pods: one per node, all of one attempt; the coordinator stands beside rank 0 and shares its work folder.

A learner pod is never started again: whatever ends one ends the attempt, and the next attempt has new pods.
"""

from __future__ import annotations

from typing import Any, Final

from rlvr_api import contract
from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads.devices import default_gpus
from rlvr_operator.workloads.kit import Kit, Member
from rlvr_operator.workloads.names import host_of, selector_of, spec_of
from rlvr_operator.workloads.pods import (
    ONE_THREAD,
    PYTHON,
    SHM_VOLUME,
    base_pod,
    container,
    environment,
    mount,
    probes,
    requests,
    shared_memory,
)
from rlvr_operator.workloads.templates import container as named
from rlvr_operator.workloads.templates import pod_spec, template_of

PORT_RENDEZVOUS: Final = 29400
GRACE_SECONDS: Final = 90
"""Without a template that gives more: for saving the newest step, and half of it for whatever else there is to end."""
_END_SECONDS: Final = 45


def learner_pod(job: JobSeen, kit: Kit, member: Member) -> dict[str, Any]:
    """The spec of one node's pod."""
    containers = [_learner(job, kit, member), *([_coordinator(job, kit, member)] if member.index == 0 else [])]
    pod = base_pod(job, member, containers=containers, grace_seconds=GRACE_SECONDS)
    pod["restartPolicy"] = "Never"
    pod["volumes"].append(shared_memory())
    topology_key = spec_of(job).scheduling.topology_key
    if topology_key is not None:
        pod["affinity"] = _together(job, topology_key)
    return pod


def _learner(job: JobSeen, kit: Kit, member: Member) -> dict[str, Any]:
    spec = spec_of(job)
    gpus = spec.learner.gpus_per_node
    cpu, memory = (f"{4 * gpus}", f"{16 * gpus}Gi") if gpus else ("500m", "1Gi")
    learner = container(
        "learner",
        image=kit.trainer_image,
        command=(*PYTHON, "learner"),
        environment=environment(member, port=contract.PORT_LEARNER, told=_told(job, kit, member)),
        ports=[{"name": "learner", "containerPort": contract.PORT_LEARNER, "protocol": "TCP"}],
        resources=requests(cpu=cpu, memory=memory)
        | default_gpus(named(template_of(spec, "learner"), "learner"), count=gpus),
        **probes(contract.PORT_LEARNER, startup_seconds=spec.limits.startup_deadline_seconds),
    )
    learner["volumeMounts"].append(mount(SHM_VOLUME))
    if spec.checkpoint.secret_ref is not None:
        learner["envFrom"] = [{"secretRef": {"name": spec.checkpoint.secret_ref.name}}]
    return learner


def _told(job: JobSeen, kit: Kit, member: Member) -> dict[str, str]:
    """Whose checkpoints are its own, and how long a last one may take: the pod's grace less what else is to be done."""
    grace = pod_spec(template_of(spec_of(job), "learner")).get("terminationGracePeriodSeconds")
    # What is no number the API server refuses.
    seconds = grace if isinstance(grace, int) else GRACE_SECONDS
    told = {"RLVR_RUN": job.uid, "RLVR_SAVE_SECONDS": str(seconds - _END_SECONDS)}
    told |= {"RLVR_LAST_WORDS": contract.LAST_WORDS_FILE} if member.index == 0 else {}
    return told if spec_of(job).learner.backend.local is not None else told | _meeting(job, kit)


def _meeting(job: JobSeen, kit: Kit) -> dict[str, str]:
    """Every pod starts its own ranks; those of all pods meet at the first."""
    return {"MASTER_ADDR": host_of(job, kit, role="learner", index=0), "MASTER_PORT": str(PORT_RENDEZVOUS)}


def _coordinator(job: JobSeen, kit: Kit, member: Member) -> dict[str, Any]:
    host = host_of(job, kit, role="learner", index=0)
    told = {
        "RLVR_PUBLIC_URL": f"http://{host}:{contract.PORT_COORDINATOR}",
        "RLVR_LAST_WORDS": contract.LAST_WORDS_FILE,
        **ONE_THREAD,
    }
    return container(
        "coordinator",
        image=kit.trainer_image,
        command=(*PYTHON, "coordinator"),
        environment=environment(member, port=contract.PORT_COORDINATOR, told=told),
        ports=[{"name": "coordinator", "containerPort": contract.PORT_COORDINATOR, "protocol": "TCP"}],
        resources=requests(cpu="250m", memory="512Mi"),
        **probes(contract.PORT_COORDINATOR, startup_seconds=spec_of(job).limits.startup_deadline_seconds),
    )


def _together(job: JobSeen, topology_key: str) -> dict[str, Any]:
    """All learner pods in one rack, NVLink domain, ...: the first chooses, the others follow."""
    term = {"topologyKey": topology_key, "labelSelector": {"matchLabels": selector_of(job, "learner")}}
    return {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
