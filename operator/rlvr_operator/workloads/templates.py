"""Reading a user's pod template without trusting its shape: the API server checks that later."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr_api import RLVRJobSpec
from rlvr_operator.observed import Role


def template_of(spec: RLVRJobSpec, role: Role) -> Mapping[str, Any]:
    """The template of a role; empty when there is none."""
    templates = {"learner": spec.learner.template, "rollout": spec.rollout.template, "reward": spec.reward.template}
    return templates[role] or {}


def pod_spec(template: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(template.get("spec"))


def container(template: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What the template says about the container `name`; empty when it says nothing."""
    found = (item for item in items(pod_spec(template), "containers") if item.get("name") == name)
    return next(found, {})


def items(parent: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects of a list; what is no object is left to the API server to refuse."""
    value = parent.get(name)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def words(parent: Mapping[str, Any], name: str) -> list[str]:
    """The strings of a list."""
    value = parent.get(name)
    return [str(item) for item in value] if isinstance(value, list) else []


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
