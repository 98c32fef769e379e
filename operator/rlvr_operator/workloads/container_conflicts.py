"""What a template says about containers that a job cannot give; the pod's own fields are in `conflicts.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rlvr_api import RLVRJobSpec, contract, serving
from rlvr_operator.observed import Role
from rlvr_operator.workloads.pods import CONFIG_FOLDER, TOKEN_FOLDER
from rlvr_operator.workloads.templates import items, mapping, words

OURS: Final[Mapping[Role, frozenset[str]]] = {
    "learner": frozenset({"learner", "coordinator"}),
    "rollout": frozenset({"engine", "agent"}),
    "reward": frozenset({"reward"}),
}
_PORTS: Final[Mapping[int, str]] = {
    contract.PORT_COORDINATOR: "the coordinator",
    contract.PORT_AGENT: "the rollout agent",
    contract.PORT_REWARD: "the reward service",
    contract.PORT_LEARNER: "the learner",
    contract.PORT_ENGINE: "the engine",
}
_PROBES: Final = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle")
_WALLS: Final = ("--host", "--port", "--uds", "--config")
"""Options of vLLM that would move or open the engine's routes; --config could hold any of them."""


def of_containers(spec: RLVRJobSpec, role: Role, pod: Mapping[str, Any]) -> Iterator[str]:
    """Conflicts of all containers in the spec of a template."""
    for kind in ("initContainers", "containers"):
        for container in items(pod, kind):
            name = str(container.get("name"))
            is_ours = kind == "containers" and name in OURS[role]
            if is_ours:
                found = (*_of_command(spec, name, container), *_of_environment(name, container), *_of_mounts(container))
            else:
                found = tuple(_of_name(role, kind, name))
            yield from (f"{kind} {name}: {conflict}" for conflict in (*found, *_of_any(role, container)))


def _of_command(spec: RLVRJobSpec, name: str, container: Mapping[str, Any]) -> Iterator[str]:
    if container.get("command"):
        yield "command is the job's own: choose another image, or add a container beside it"
    arguments = words(container, "args")
    if arguments and (name != "engine" or spec.rollout.engine != "vllm"):
        yield f"args {arguments!r} would not be read: {name} takes none; what it does is in the job's spec"
    else:
        yield from _of_arguments(arguments)
    for probe in _PROBES:
        if container.get(probe):
            yield f"{probe} is the job's own: use limits.startupDeadlineSeconds and limits.hangTimeoutSeconds"


def _of_environment(name: str, container: Mapping[str, Any]) -> Iterator[str]:
    for variable in items(container, "env"):
        key = str(variable.get("name"))
        if key.startswith("RLVR_") or (name == "engine" and key in serving.ENVIRONMENT):
            yield f"env {key} is set by the operator: leave it out"


def _of_mounts(container: Mapping[str, Any]) -> Iterator[str]:
    for mount in items(container, "volumeMounts"):
        path = str(mount.get("mountPath")).rstrip("/")
        if f"{path}/".startswith((f"{CONFIG_FOLDER}/", f"{TOKEN_FOLDER}/")):
            yield f"volumeMounts {path} would hide the job's own files: mount it elsewhere"


def _of_arguments(arguments: list[str]) -> Iterator[str]:
    for argument in arguments:
        option = argument.partition("=")[0].replace("_", "-")
        # A parser may take an unambiguous beginning of an option for the option.
        if len(option) > len("--h") and any(wall.startswith(option) for wall in _WALLS):
            yield f"args {argument} would move the engine's routes, which have no authentication: leave it out"


def _of_name(role: Role, kind: str, name: str) -> Iterator[str]:
    if kind == "initContainers" and name in OURS[role]:
        yield "a container of the job has this name: choose another one"


def _of_any(role: Role, container: Mapping[str, Any]) -> Iterator[str]:
    for port in items(container, "ports"):
        number = port.get("containerPort")
        if port.get("hostPort"):
            yield f"ports {number} cannot be a hostPort: it would go around the job's NetworkPolicies"
        elif isinstance(number, int) and number in _PORTS:
            yield f"ports {number} belongs to {_PORTS[number]}: choose another one"
    if role == "reward":
        yield from loosened(mapping(container.get("securityContext")))


def loosened(context: Mapping[str, Any]) -> Iterator[str]:
    """A reward pod stays restricted whatever the namespace would allow."""
    asks = {
        "privileged": bool(context.get("privileged")),
        "allowPrivilegeEscalation": bool(context.get("allowPrivilegeEscalation")),
        "runAsNonRoot": context.get("runAsNonRoot") is False,
        "readOnlyRootFilesystem": context.get("readOnlyRootFilesystem") is False,
        "capabilities": bool(mapping(context.get("capabilities")).get("add")),
        "seccompProfile": mapping(context.get("seccompProfile")).get("type") == "Unconfined",
        "procMount": context.get("procMount") not in (None, "Default"),
    }
    for field in (field for field, is_asked in asks.items() if is_asked):
        yield f"securityContext.{field} cannot be loosened: verifiers may run code that a model wrote"
