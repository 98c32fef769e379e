"""Learner pods: one per node, all of one attempt; the coordinator stands beside rank 0 and shares its work folder.

A learner pod is never started again: whatever ends one ends the attempt, and the next attempt has new pods.
"""

from __future__ import annotations

from typing import Any, Final

from rlvr_api import contract
from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads.config import reward_urls, rollout_urls
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
from rlvr_operator.workloads.templates import template_of

PORT_RENDEZVOUS: Final = 29400
GRACE_SECONDS: Final = 90
"""A learner asked to stop takes up to 45 s to save the newest step; the rest is for shutting down."""


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
        command=_command(job, kit, member),
        environment=environment(member, port=contract.PORT_LEARNER, told={"RLVR_RUN": job.uid}),
        ports=[{"name": "learner", "containerPort": contract.PORT_LEARNER, "protocol": "TCP"}],
        resources=requests(cpu=cpu, memory=memory)
        | default_gpus(named(template_of(spec, "learner"), "learner"), count=gpus),
        **probes(contract.PORT_LEARNER, startup_seconds=spec.limits.startup_deadline_seconds),
    )
    learner["volumeMounts"].append(mount(SHM_VOLUME))
    if spec.checkpoint.secret_ref is not None:
        learner["envFrom"] = [{"secretRef": {"name": spec.checkpoint.secret_ref.name}}]
    return learner


def _command(job: JobSeen, kit: Kit, member: Member) -> tuple[str, ...]:
    """One process by itself; several under torchrun, whose rendezvous is the attempt's own."""
    spec = spec_of(job)
    learner = spec.learner
    if learner.nodes == 1 and learner.gpus_per_node <= 1:
        return (*PYTHON, "learner")
    return (
        *("python3", "-m", "torch.distributed.run"),
        *("--nnodes", str(learner.nodes), "--nproc-per-node", str(max(learner.gpus_per_node, 1))),
        *("--node-rank", str(member.index), "--master-addr", host_of(job, kit, role="learner", index=0)),
        *("--master-port", str(PORT_RENDEZVOUS), "--rdzv-id", f"{job.uid}-a{member.attempt}"),
        *("--rdzv-conf", f"timeout={spec.limits.startup_deadline_seconds}", "--max-restarts", "0"),
        *("-m", "rlvr_trainer", "learner"),
    )


def _coordinator(job: JobSeen, kit: Kit, member: Member) -> dict[str, Any]:
    host = host_of(job, kit, role="learner", index=0)
    told = {
        "RLVR_PUBLIC_URL": f"http://{host}:{contract.PORT_COORDINATOR}",
        "RLVR_ROLLOUTS": ",".join(rollout_urls(job, kit)),
        "RLVR_REWARDS": ",".join(reward_urls(job, kit)),
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
