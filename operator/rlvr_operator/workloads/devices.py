"""Devices that a container is given: GPUs by default, whatever else its template names instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr_api.devices import GPU, asked_for, has_claims


def default_gpus(container: Mapping[str, Any], *, count: int) -> dict[str, Any]:
    """The resources that give a container its GPUs, unless its template asks for devices of its own choice."""
    if count == 0 or asked_for(container) or has_claims(container):
        return {}
    return {"limits": {GPU: str(count)}}
