"""Rollout pods: an engine that listens on the pod's loopback only, and the agent that is its front door.

A container that ends is started again in its pod by the kubelet, which keeps node, devices and fetched policies; the
agent gives a new engine no work before it has been sent a policy.
"""

from __future__ import annotations

from typing import Any, Final

from rlvr_api import RLVRJobSpec, contract, serving
from rlvr_api.devices import main_device
from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads.devices import default_gpus
from rlvr_operator.workloads.kit import Kit, Member
from rlvr_operator.workloads.names import spec_of
from rlvr_operator.workloads.pods import (
    ONE_THREAD,
    PYTHON,
    SHM_VOLUME,
    base_pod,
    container,
    environment,
    living,
    mount,
    requests,
    shared_memory,
    starting,
)
from rlvr_operator.workloads.templates import container as named
from rlvr_operator.workloads.templates import template_of

ENGINE_URL: Final = f"http://127.0.0.1:{contract.PORT_ENGINE}"
GRACE_SECONDS: Final = 30


def rollout_pod(job: JobSeen, kit: Kit, member: Member) -> dict[str, Any]:
    """The spec of one replica's pod."""
    spec = spec_of(job)
    engine = _vllm(spec, kit, member) if spec.rollout.engine == "vllm" else _local_engine(kit, member)
    engine["volumeMounts"].append(mount(SHM_VOLUME))
    engine["startupProbe"] = starting(_ask_engine("health"), spec.limits.startup_deadline_seconds)
    # vLLM's /health answers beside workers that are stuck in a broadcast; what goes through all of it does not.
    engine["livenessProbe"] = living(_ask_engine("weight_info" if spec.rollout.weight_transfer == "nccl" else "health"))
    pod = base_pod(job, member, containers=[_agent(kit, member), engine], grace_seconds=GRACE_SECONDS)
    pod["volumes"].append(shared_memory())
    return pod


def _ask_engine(route: str) -> dict[str, Any]:
    """From inside: the engine listens where the kubelet's own HTTP probes cannot reach it."""
    words = f"import urllib.request; urllib.request.urlopen('{ENGINE_URL}/{route}', timeout=20)"
    return {"exec": {"command": ["python3", "-c", words]}}


def _agent(kit: Kit, member: Member) -> dict[str, Any]:
    """Ready when its engine holds a known policy; alive while its port is open, for a wait for a policy may be long."""
    port = contract.PORT_AGENT
    return container(
        "agent",
        image=kit.trainer_image,
        command=(*PYTHON, "rollout"),
        environment=environment(member, port=port, told={"RLVR_ENGINE": ENGINE_URL, **ONE_THREAD}),
        ports=[{"name": "agent", "containerPort": port, "protocol": "TCP"}],
        resources=requests(cpu="100m", memory="256Mi"),
        readinessProbe={"httpGet": {"path": "/health", "port": port}, "periodSeconds": 5, "timeoutSeconds": 5},
        livenessProbe=living({"tcpSocket": {"port": port}}) | {"initialDelaySeconds": 30},
    )


def _local_engine(kit: Kit, member: Member) -> dict[str, Any]:
    return container(
        "engine",
        image=kit.trainer_image,
        command=(*PYTHON, "engine"),
        environment=environment(member, port=contract.PORT_ENGINE),
        resources=requests(cpu="500m", memory="1Gi"),
    )


def _vllm(spec: RLVRJobSpec, kit: Kit, member: Member) -> dict[str, Any]:
    template = named(template_of(spec, "rollout"), "engine")
    told = environment(member, port=contract.PORT_ENGINE) | serving.ENVIRONMENT
    return container(
        "engine",
        image=kit.engine_image,
        command=("vllm", "serve"),
        environment=told,
        args=vllm_arguments(spec),
        resources=requests(cpu="4", memory="16Gi") | default_gpus(template, count=1),
    )


def vllm_arguments(spec: RLVRJobSpec) -> list[str]:
    """What `vllm serve` is told; `args` of the template's engine container follow, and the last one of a kind holds."""
    devices = main_device(named(template_of(spec, "rollout"), "engine"))
    return [
        *_model(spec),
        *("--host", "127.0.0.1", "--port", str(contract.PORT_ENGINE)),
        *serving.flags(serving.vllm_arguments(spec, devices=devices or 1)),
    ]


def _model(spec: RLVRJobSpec) -> list[str]:
    if spec.model.hub is not None:
        return [spec.model.hub.repository, "--revision", spec.model.hub.revision]
    assert spec.model.path is not None, "a builtin model with vLLM is a conflict"
    return [spec.model.path.removeprefix("file://")]
