"""Which accelerators a container asks for: GPUs by default, whatever else its template names instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rlvr_operator.workloads.templates import mapping

GPU: Final = "nvidia.com/gpu"


def asked_for(container: Mapping[str, Any]) -> dict[str, int]:
    """Extended resources in the container's limits or requests, with whole counts."""
    resources = _resources(container)
    named = {**mapping(resources.get("requests")), **mapping(resources.get("limits"))}
    return {name: int(count) for name, count in named.items() if "/" in name and str(count).isdecimal()}


def has_claims(container: Mapping[str, Any]) -> bool:
    """Whether it uses DRA resource claims."""
    return bool(_resources(container).get("claims"))


def default_gpus(container: Mapping[str, Any], *, count: int) -> dict[str, Any]:
    """The resources that give a container its GPUs, unless its template asks for devices of its own choice."""
    if count == 0 or asked_for(container) or has_claims(container):
        return {}
    return {"limits": {GPU: str(count)}}


def main_device(container: Mapping[str, Any]) -> int | None:
    """How many accelerators it has: NVIDIA's if it names them, else the one kind it names; None when that is unclear.

    A claim counts as one device: how many it stands for is known when it is allocated.
    """
    asked = asked_for(container)
    if GPU in asked:
        return asked[GPU]
    if len(asked) > 1:
        return None
    return next(iter(asked.values()), 1)


def _resources(container: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(container.get("resources"))
