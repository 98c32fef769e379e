"""Which nodes are lost: not ready, or gone.  Nothing is lost before the first complete list."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rlvr_operator.cluster.resources import Raw


class Nodes:
    """Fed by an informer; `changed` is told the node whose state has."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._ready: dict[str, bool] = {}
        self._uids: dict[str, str] = {}
        self._is_complete = False

    def lost(self, names: Iterable[str]) -> frozenset[str]:
        """Those of `names` that are lost."""
        if not self._is_complete:
            return frozenset()
        return frozenset(name for name in names if name and not self._ready.get(name, False))

    def put(self, raw: Raw) -> None:
        name, is_ready = raw["metadata"]["name"], _is_ready(raw)
        was_ready = self._ready.get(name)
        self._ready[name], self._uids[name] = is_ready, raw["metadata"]["uid"]
        if was_ready != is_ready:
            self._changed(name)

    def remove(self, raw: Raw) -> None:
        self._forget(raw["metadata"]["name"])

    def keep_only(self, uids: set[str], *, version: int) -> None:  # noqa: ARG002 - nodes are written by others only
        for name in [name for name, uid in self._uids.items() if uid not in uids]:
            self._forget(name)
        self._is_complete = True

    def _forget(self, name: str) -> None:
        if self._uids.pop(name, None) is not None:
            del self._ready[name]
            self._changed(name)


def _is_ready(raw: Raw) -> bool:
    conditions = raw.get("status", {}).get("conditions") or ()
    return any(it["type"] == "Ready" and it["status"] == "True" for it in conditions)
