"""A job on a real API server, and what users and kubelets do to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
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

    def end(
        self,
        pod: str,
        code: int,
        *,
        reason: str = "Error",
        message: str = "",
        messages: Mapping[str, str] | None = None,
    ) -> None:
        """Every container of the pod ends, with the message of its name or the one for all."""
        ended = {"exitCode": code, "reason": reason, "finishedAt": "2026-11-21T12:00:00Z"}
        containers = self.pods()[pod]["spec"]["containers"]
        said = {it["name"]: (messages or {}).get(it["name"], message) for it in containers}
        self.write(
            pod,
            phase="Failed" if code else "Succeeded",
            conditions=[{"type": "Ready", "status": "False"}],
            containerStatuses=[
                container_status(it, terminated={**ended, "message": said[it["name"]]}) for it in containers
            ],
        )

    def loop(self, pod: str, *, restarts: int) -> None:
        """The pod's containers end as often as the kubelet starts them."""
        self.waiting(pod, "CrashLoopBackOff", "back-off", restarts=restarts)

    def waiting(self, pod: str, reason: str, message: str, *, restarts: int = 0) -> None:
        """No container of the pod can start."""
        state = {"reason": reason, "message": message}
        containers = self.pods()[pod]["spec"]["containers"]
        self.write(
            pod,
            conditions=[{"type": "Ready", "status": "False"}],
            containerStatuses=[container_status(it, restarts=restarts, waiting=state) for it in containers],
        )

    def hold(self, pod: str, *, is_held: bool = True) -> None:
        """Its fake node leaves the pod as it is: what is deleted stays Terminating."""
        annotation = "test.rlvr.dev/hold" + ("=true" if is_held else "-")
        self.plane.kubectl("annotate", "pod", pod, "-n", self.home, annotation)

    def evict(self, pod: str) -> str:
        """What a drain asks for, and what it is told; empty when the pod goes."""
        metadata = {"name": pod, "namespace": self.home}
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        path = f"/api/v1/namespaces/{self.home}/pods/{pod}/eviction"
        return self.plane.try_kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction)).stderr

    def reasons(self) -> set[str]:
        """Of the Events about the job."""
        found = self.plane.get("events", "-n", self.home, "--field-selector=involvedObject.kind=RLVRJob")["items"]
        return {it["reason"] for it in found}

    def reaches(self, phase: str) -> LiveJob:
        def is_reached() -> bool:
            return self.status().get("phase") == phase

        self.waits(is_reached, f"the job is {phase}")
        return self

    def waits(self, test: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
        """AssertionError with what is known of the job when it does not hold in time."""
        try:
            wait_until(test, what, seconds)
        except AssertionError as error:
            error.add_note(f"{json.dumps(self.status())} {sorted(self.pods())}" if self.is_there() else "no job")
            raise

    def _patch(self, kind: str, name: str, change: dict[str, Any], *options: str) -> None:
        self.plane.kubectl("patch", kind, name, "-n", self.home, "--type=merge", "-p", json.dumps(change), *options)


def container_status(container: dict[str, Any], *, restarts: int = 0, **state: Any) -> dict[str, Any]:
    """What a kubelet says about one container that is not ready."""
    seen = {"image": container["image"], "imageID": "", "ready": False, "restartCount": restarts}
    return {"name": container["name"], "state": state, **seen}
