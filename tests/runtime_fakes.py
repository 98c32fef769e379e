"""An API server in memory with the methods of the operator's client, a clock to turn, and raw objects."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from builders import a_job_dict
from rlvr_api import contract
from rlvr_operator.cluster.requests import Scope
from rlvr_operator.cluster.resources import JOBS, PODS, Raw, Resource, resource_of
from rlvr_operator.errors import Conflict, Missing, OperatorError


@dataclass
class Clock:
    """Stands still until it is turned."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeClient:
    """Keeps objects, remembers what was asked in order, and fails where a test says so."""

    objects: dict[tuple[str, str, str], Raw] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    """`VERB Kind/name`, with `/sub` for subresources."""
    failures: dict[str, OperatorError] = field(default_factory=dict)
    """What asking that raises."""
    version: int = 100

    def hold(self, raw: Raw) -> Raw:
        """Put an object there as if somebody else had made it."""
        self.version += 1
        stored = copy.deepcopy(raw)
        metadata = stored["metadata"]
        metadata.setdefault("uid", f"uid-of-{metadata['name']}-{self.version}")
        metadata["resourceVersion"] = str(self.version)
        self.objects[_place(stored)] = stored
        return copy.deepcopy(stored)

    def drop(self, raw: Raw) -> None:
        del self.objects[_place(raw)]

    async def get(self, resource: Resource, name: str, *, namespace: str = "") -> Raw:
        self._note(f"GET {resource.kind}/{name}")
        return copy.deepcopy(self._find(resource, namespace, name))

    async def list(self, scope: Scope, *, chunk: int = 500) -> AsyncIterator[Raw]:  # noqa: ARG002 - the client's signature
        self._note(f"LIST {scope.resource.kind}")
        items = [it for (kind, _, _), it in self.objects.items() if kind == scope.resource.kind]
        yield {"metadata": {"resourceVersion": str(self.version)}, "items": copy.deepcopy(items)}

    async def create(self, manifest: Raw) -> Raw | None:
        self._note(f"POST {manifest['kind']}/{manifest['metadata']['name']}")
        return None if _place(manifest) in self.objects else self.hold(manifest)

    async def create_sub(self, resource: Resource, name: str, sub: str, *, namespace: str, body: Raw) -> Raw:  # noqa: ARG002 - as above
        self._note(f"POST {resource.kind}/{name}/{sub}")
        return {"status": {"token": f"token {len(self.asked)} for {body['spec']['audiences'][0]}"}}

    async def apply(self, manifest: Raw, *, uid: str = "") -> Raw:
        self._note(f"APPLY {manifest['kind']}/{manifest['metadata']['name']}")
        known = self.objects.get(_place(manifest))
        if uid != ("" if known is None else known["metadata"]["uid"]):
            raise Conflict("the object has been modified", code=409)
        return self.hold(manifest | {"metadata": manifest["metadata"] | ({"uid": uid} if uid else {})})

    async def replace(self, manifest: Raw) -> Raw:
        self._note(f"PUT {manifest['kind']}/{manifest['metadata']['name']}")
        self._guard(self._find_like(manifest), manifest["metadata"])
        return self.hold(manifest)

    async def patch(self, resource: Resource, name: str, *, namespace: str, body: Raw, sub: str = "") -> Raw:
        self._note(f"PATCH {resource.kind}/{name}" + (f"/{sub}" if sub else ""))
        known = self._find(resource, namespace, name)
        self._guard(known, body.get("metadata", {}))
        return self.hold(_merged(known, body))

    async def delete(
        self, resource: Resource, name: str, *, namespace: str, uid: str = "", grace: int | None = None
    ) -> Raw:
        self._note(f"DELETE {resource.kind}/{name}" + ("" if grace is None else f" in {grace} s"))
        known = self._find(resource, namespace, name)
        self._guard(known, {"uid": uid} if uid else {})
        known["metadata"]["deletionTimestamp"] = "2026-11-21T12:00:00Z"
        return self.hold(known)

    def _note(self, what: str) -> None:
        self.asked.append(what)
        if what in self.failures:
            raise self.failures[what]

    def _find(self, resource: Resource, namespace: str, name: str) -> Raw:
        found = self.objects.get((resource.kind, namespace, name))
        if found is None:
            raise Missing(f"{resource.plural} {name!r} not found", code=404)
        return found

    def _find_like(self, manifest: Raw) -> Raw:
        metadata = manifest["metadata"]
        return self._find(resource_of(manifest), metadata.get("namespace", ""), metadata["name"])

    def _guard(self, known: Raw, metadata: Raw) -> None:
        for guard in ("uid", "resourceVersion"):
            if guard in metadata and metadata[guard] != known["metadata"][guard]:
                raise Conflict("the object has been modified", code=409)


def _place(raw: Raw) -> tuple[str, str, str]:
    return raw["kind"], raw["metadata"].get("namespace", ""), raw["metadata"]["name"]


def _merged(old: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    kept = old if isinstance(old, dict) else {}
    merged = kept | {key: _merged(kept.get(key), value) for key, value in change.items()}
    return {key: value for key, value in merged.items() if change.get(key, 0) is not None}


def a_raw_job(name: str = "sums", *, uid: str = "job-uid", status: Raw | None = None, **metadata: Any) -> Raw:
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {"name": name, "namespace": "research", "uid": uid, "generation": 1, **metadata},
        "spec": a_job_dict()["spec"],
        "status": status or {},
    }


def a_raw_pod(name: str = "sums-learner-0-a0", *, job: str = "sums", owner: str = "job-uid", **status: Any) -> Raw:
    """A pod of a job; its role, index and attempt are read from its name."""
    role, index, attempt = name.removeprefix(f"{job}-").rsplit("-", 2)
    labels = {
        contract.LABEL_MANAGED: "true",
        contract.LABEL_JOB: job,
        contract.LABEL_ROLE: role,
        contract.LABEL_INDEX: index,
        contract.LABEL_ATTEMPT: attempt.removeprefix("a"),
    }
    owners = [an_owner(owner)]
    return {
        "apiVersion": PODS.api_version,
        "kind": PODS.kind,
        "metadata": {"name": name, "namespace": "research", "labels": labels, "ownerReferences": owners},
        "spec": {},
        "status": {"phase": "Pending", **status},
    }


def a_child(kind: str = "ConfigMap", name: str = "sums", *, digest: str = "abc", owner: str = "job-uid") -> Raw:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": "research",
            "labels": {contract.LABEL_JOB: "sums", contract.LABEL_MANAGED: "true"},
            "annotations": {"rlvr.dev/hash": digest},
            "ownerReferences": [an_owner(owner)],
        },
    }


def an_owner(uid: str = "job-uid", *, kind: str = contract.KIND, name: str = "sums") -> Raw:
    """Who controls an object."""
    return {"apiVersion": contract.API_VERSION, "kind": kind, "name": name, "uid": uid, "controller": True}
