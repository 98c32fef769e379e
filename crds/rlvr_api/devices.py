"""Which accelerators a container of a pod template asks for.  Pure; a template that is no template asks for nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

GPU: Final = "nvidia.com/gpu"


def asked_for(container: Mapping[str, Any]) -> dict[str, int]:
    """Extended resources in the container's limits or requests, with whole counts."""
    resources = _mapping(container.get("resources"))
    named = {**_mapping(resources.get("requests")), **_mapping(resources.get("limits"))}
    return {name: int(count) for name, count in named.items() if "/" in name and str(count).isdecimal()}


def has_claims(container: Mapping[str, Any]) -> bool:
    """Whether it uses DRA resource claims."""
    return bool(_mapping(container.get("resources")).get("claims"))


def main_device(container: Mapping[str, Any]) -> int | None:
    """How many accelerators it has: NVIDIA's if it names them, else the one kind it names; None when that is unclear.

    A container that asks for none gets one; a claim counts as one device: how many it stands for is known when it is
    allocated.
    """
    asked = asked_for(container)
    if GPU in asked:
        return asked[GPU]
    if len(asked) > 1:
        return None
    return next(iter(asked.values()), 1)


def named_container(template: Mapping[str, Any] | None, name: str) -> Mapping[str, Any]:
    """What a pod template says about the container `name`; empty when it says nothing."""
    containers = _mapping(_mapping(template).get("spec")).get("containers")
    found = containers if isinstance(containers, list) else []
    return next((item for item in found if isinstance(item, Mapping) and item.get("name") == name), {})


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
