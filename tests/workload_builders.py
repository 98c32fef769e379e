"""Jobs as the operator sees them, the kit that manifests are built with, and what `restricted` means for a pod."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from builders import a_job
from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads import Kit, Member, pod

UID = "0a1b2c3d-4e5f-4000-8000-000000000001"
KIT = Kit(
    trainer_image="registry.example/rlvr/trainer:1",
    engine_image="registry.example/vllm:0.32",
    reward_image="registry.example/rlvr/reward:1",
    operator_namespace="rlvr-system",
    operator_service_account="rlvr-operator",
    issuer="https://issuer.example",
    jwks='{"keys": []}',
)
PATH_MODEL = {"model": {"path": "/models/base"}}


def a_seen_job(*, name: str = "sums", namespace: str = "research", uid: str = UID, **sections: Any) -> JobSeen:
    spec = a_job(**sections).spec
    return JobSeen(namespace=namespace, name=name, uid=uid, generation=1, created_at=0.0, spec=spec)


def a_vllm_job(*, rollout: dict[str, Any] | None = None, **sections: Any) -> JobSeen:
    return a_seen_job(**PATH_MODEL, rollout={"sampling": {"maxTokens": 64}, **(rollout or {})}, **sections)


def a_pod(job: JobSeen, role: Any, index: int = 0, *, kit: Kit = KIT, **more: int) -> Manifest:
    return pod(job, kit, Member(role=role, index=index, **more))


def all_pods(job: JobSeen, *, kit: Kit = KIT) -> list[Manifest]:
    """Every pod that the job has when all is well."""
    assert job.spec is not None
    numbers = {
        "learner": job.spec.learner.nodes,
        "rollout": job.spec.rollout.replicas,
        "reward": job.spec.reward.replicas,
    }
    return [a_pod(job, role, index, kit=kit) for role, number in numbers.items() for index in range(number)]


def a_container(manifest: Manifest, name: str) -> dict[str, Any]:
    return next(item for item in manifest["spec"]["containers"] if item["name"] == name)


def environment_of(manifest: Manifest, name: str) -> dict[str, str]:
    return {item["name"]: item["value"] for item in a_container(manifest, name)["env"]}


def renamed(job: JobSeen, name: str) -> JobSeen:
    return replace(job, name=name)


def broken_restrictions(manifest: Manifest) -> Iterator[str]:
    """Rules of the `restricted` Pod Security Standard that a pod breaks, each as a path."""
    spec = manifest["spec"]
    context = spec.get("securityContext", {})
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield field
    if context.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        yield "seccompProfile"
    if not context.get("runAsNonRoot") or context.get("runAsUser") == 0:
        yield "runAsNonRoot"
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    for volume in spec.get("volumes", []):
        if set(volume) - {"name"} - allowed:
            yield f"volumes {volume['name']}"
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        yield from (f"{container['name']} {broken}" for broken in _broken_in(container))


def _broken_in(container: dict[str, Any]) -> Iterator[str]:
    context = container.get("securityContext", {})
    if context.get("privileged"):
        yield "privileged"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if "ALL" not in context.get("capabilities", {}).get("drop", []):
        yield "capabilities.drop"
    if set(context.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
        yield "capabilities.add"
    if context.get("runAsNonRoot") is False or context.get("runAsUser") == 0:
        yield "runAsNonRoot"
    if context.get("seccompProfile", {}).get("type", "RuntimeDefault") not in {"RuntimeDefault", "Localhost"}:
        yield "seccompProfile"
    if any(port.get("hostPort") for port in container.get("ports", [])):
        yield "hostPort"
