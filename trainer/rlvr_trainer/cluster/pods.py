"""Which pod, and which container of it, a role's log is in.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rlvr_api.contract import LABEL_ATTEMPT, LABEL_INDEX, LABEL_ROLE
from rlvr_trainer.cluster.refusals import ClusterError
from rlvr_trainer.cluster.requests import Object

_PODS: Final[Mapping[str, str]] = {"coordinator": "learner"}
"""Roles that live in another role's pod."""
_CONTAINERS: Final[Mapping[str, str]] = {"rollout": "agent"}
"""Roles whose container is not named after them."""


def role_pod(pods: Sequence[Object], *, job: str, role: str, index: int) -> Object:
    """The newest incarnation of a role's pod; ClusterError saying which there are."""
    wanted = (_PODS.get(role, role), str(index))
    found = [pod for pod in pods if _place(pod) == wanted]
    if found:
        return max(found, key=lambda pod: int(pod["metadata"]["labels"].get(LABEL_ATTEMPT, 0)))
    there = ", ".join(sorted({" ".join(_place(pod)) for pod in pods}))
    raise ClusterError(
        f"job {job!r} has no pod {' '.join(wanted)} now: {f'there is {there}' if there else 'it has no pods'}; see "
        f"`rlvr status {job}`."
    )


def container_of(pod: Object, *, role: str, wanted: str | None) -> str:
    """The container to read; ClusterError saying which there are."""
    names = [container["name"] for container in pod["spec"].get("initContainers", [])]
    names += [container["name"] for container in pod["spec"]["containers"]]
    name = wanted or _CONTAINERS.get(role, role)
    if name not in names:
        raise ClusterError(f"pod {pod['metadata']['name']} has no container {name!r}: there is {', '.join(names)}.")
    return name


def _place(pod: Object) -> tuple[str, str]:
    labels = pod["metadata"].get("labels") or {}
    return labels.get(LABEL_ROLE, "?"), labels.get(LABEL_INDEX, "?")
