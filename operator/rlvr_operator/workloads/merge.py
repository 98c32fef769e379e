"""A user's pod template laid over ours, by Kubernetes' strategic rules.

Maps are merged and the user's value wins; lists whose items have a key are merged by it; lists of rules (tolerations,
spread constraints, ...) and arguments grow; any other list is replaced.  Neither side is changed, and merging twice is
merging once.  What a template may not say is the business of `conflicts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "ports": ("containerPort", "protocol"),
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "imagePullSecrets": ("name",),
    "hostAliases": ("ip",),
    "resourceClaims": ("name",),
    "claims": ("name", "request"),
}
_WHOLE: Final[Mapping[str, tuple[str, ...]]] = {"volumes": ("name",)}
"""Keyed too, but an item replaces its namesake: half of one volume source and half of another would be neither."""
_GROWING: Final = frozenset(
    {
        "tolerations",
        "topologySpreadConstraints",
        "envFrom",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    }
)
_DEFAULTS: Final[Mapping[str, str]] = {"protocol": "TCP"}


def merge(base: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with everything that `template` says; a null takes a member away."""
    merged = dict(base)
    for name, theirs in template.items():
        if theirs is None:
            merged.pop(name, None)
        else:
            merged[name] = _member(name, merged.get(name), theirs)
    return merged


def _member(name: str, ours: Any, theirs: Any) -> Any:
    if isinstance(theirs, Mapping):
        return merge(ours if isinstance(ours, Mapping) else {}, theirs)
    if not isinstance(theirs, list):
        return theirs
    if name in _KEYS:
        return _by_key(ours or [], theirs, keys=_KEYS[name], whole=False)
    if name in _WHOLE:
        return _by_key(ours or [], theirs, keys=_WHOLE[name], whole=True)
    if name in _GROWING:
        return [*(ours or []), *(item for item in theirs if item not in (ours or []))]
    return _with_tail(ours or [], theirs) if name == "args" else theirs


def _with_tail(ours: Sequence[Any], theirs: Sequence[Any]) -> list[Any]:
    """Our arguments, then theirs: of an option given twice a program takes the last."""
    already = len(theirs) <= len(ours) and list(ours[len(ours) - len(theirs) :]) == theirs
    return list(ours) if already else [*ours, *theirs]


def _by_key(ours: Sequence[Any], theirs: Sequence[Any], *, keys: tuple[str, ...], whole: bool) -> list[Any]:
    """Ours in our order, each with what the template says about it; then what only the template has."""
    table = {_identity(item, keys): item for item in ours}
    for item in theirs:
        identity = _identity(item, keys)
        table[identity] = item if whole else _overlaid(table.get(identity, {}), item)
    return list(table.values())


def _overlaid(ours: Mapping[str, Any], theirs: Any) -> Any:
    if not isinstance(theirs, Mapping):
        return theirs
    merged = merge(ours, theirs)
    if "value" in theirs:
        merged.pop("valueFrom", None)
    if "valueFrom" in theirs:
        merged.pop("value", None)
    return merged


def _identity(item: Any, keys: tuple[str, ...]) -> Any:
    if not isinstance(item, Mapping):
        return repr(item)
    return tuple(repr(item.get(key, _DEFAULTS.get(key))) for key in keys)
