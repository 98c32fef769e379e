"""A job on a real API server, and what users and kubelets do to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from kubernetes_server import Cluster, wait_until

SECONDS: Final = 60.0


class LiveJob:
    """One job in a namespace of its own."""

    def __init__(self, plane: Cluster, **sections: Any) -> None:
        self.plane, self.home = plane, plane.make_namespace()
        manifest = yaml.safe_load(Path("examples/arithmetic-cpu.yaml").read_text())
        manifest["metadata"] = {"name": "sums", "namespace": self.home}
        for section, members in sections.items():
            is_map = isinstance(members, dict)
            manifest["spec"][section] = {**manifest["spec"].get(section, {}), **members} if is_map else members
        plane.apply(manifest)

    def is_there(self) -> bool:
        return self.plane.try_kubectl("get", "rlvrjob", "sums", "-n", self.home).returncode == 0

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.plane.get("rlvrjob", "sums", "-n", self.home).get("status", {})
        return found

    def condition(self, kind: str) -> dict[str, Any]:
        return next((it for it in self.status().get("conditions", []) if it["type"] == kind), {})

    def pods(self, role: str = "") -> dict[str, dict[str, Any]]:
        found = self.plane.get("pods", "-n", self.home)["items"]
        return {it["metadata"]["name"]: it for it in found if role in it["metadata"]["labels"]["rlvr.dev/role"]}

    def edit(self, **spec: Any) -> None:
        self._patch("rlvrjob", "sums", {"spec": spec})

    def write(self, pod: str, **status: Any) -> None:
        """What a kubelet would say about a pod."""
        self._patch("pod", pod, {"status": status}, "--subresource=status")

    def end(self, pod: str, code: int, *, reason: str = "Error", message: str = "") -> None:
        """Every container of the pod ends."""
        terminated = {"exitCode": code, "reason": reason, "message": message, "finishedAt": "2026-11-21T12:00:00Z"}
        containers = self.pods()[pod]["spec"]["containers"]
        self.write(
            pod,
            phase="Failed" if code else "Succeeded",
            conditions=[{"type": "Ready", "status": "False"}],
            containerStatuses=[container_status(it, terminated=terminated) for it in containers],
        )

    def reaches(self, phase: str) -> LiveJob:
        def is_reached() -> bool:
            return self.status().get("phase") == phase

        wait_until(is_reached, f"the job is {phase}", SECONDS)
        return self

    def waits(self, test: Callable[[], bool], what: str) -> None:
        wait_until(test, what, SECONDS)

    def _patch(self, kind: str, name: str, change: dict[str, Any], *options: str) -> None:
        self.plane.kubectl("patch", kind, name, "-n", self.home, "--type=merge", "-p", json.dumps(change), *options)


def container_status(container: dict[str, Any], **state: Any) -> dict[str, Any]:
    """What a kubelet says about one container that is not ready."""
    seen = {"image": container["image"], "imageID": "", "ready": False, "restartCount": 0}
    return {"name": container["name"], "state": state, **seen}
