"""An API server of dictionaries at the seam of `rlvr_trainer.cluster.requests`, and builders of what it serves."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlvr_trainer.cluster.refusals import refusal
from rlvr_trainer.cluster.requests import Request
from rlvr_trainer.errors import Unavailable

NOW = 1_800_000_000.0
"""2027-01-15T08:00:00Z."""
Streamed = dict[str, Any] | Unavailable


@dataclass
class FakeApi:
    """Answers from `jobs`; every watch takes the next script of `watches`, every list first an error of `away`."""

    jobs: list[dict[str, Any]] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)
    """Pods or events, whichever are asked for."""
    watches: list[Sequence[Streamed]] = field(default_factory=list)
    away: list[Unavailable] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    namespace: str = "default"

    def ask(self, request: Request) -> dict[str, Any]:
        self.asked.append(request)
        if request.verb == "list":
            return self._listed(request)
        found = self._named(request.name, request.namespace)
        if request.verb == "patch" and request.content == "application/apply-patch+yaml":
            return self._applied(request, found)
        if found is None:
            raise refusal(request, 404, {"message": "not found", "details": {"name": request.name}})
        if request.verb == "patch":
            assert request.body is not None
            found["spec"] |= request.body["spec"]
        if request.verb == "delete":
            self.jobs.remove(found)
        return found

    def lines(self, request: Request, *, silence_seconds: float | None) -> Iterator[str]:
        assert silence_seconds is not None, "only a followed log may be silent for ever"
        self.asked.append(request)
        for item in self.watches.pop(0):
            if isinstance(item, Unavailable):
                raise item
            yield json.dumps(item)

    def _listed(self, request: Request) -> dict[str, Any]:
        if request.resource != "rlvrjobs":
            return {"items": self.items}
        if self.away:
            raise self.away.pop(0)
        wanted = request.query.get("fieldSelector", "").removeprefix("metadata.name=")
        found = [job for job in self.jobs if request.namespace in {None, job["metadata"]["namespace"]}]
        return {
            "metadata": {"resourceVersion": "7"},
            "items": [job for job in found if wanted in {"", job["metadata"]["name"]}],
        }

    def _named(self, name: str, namespace: str | None) -> dict[str, Any] | None:
        places = ((job["metadata"]["name"], job["metadata"]["namespace"], job) for job in self.jobs)
        return next((job for job_name, place, job in places if (job_name, place) == (name, namespace)), None)

    def _applied(self, request: Request, found: dict[str, Any] | None) -> dict[str, Any]:
        assert request.body is not None
        if found is None:
            created = {**a_seen_job(request.name), "spec": request.body["spec"]}
            self.jobs.append(created)
            return created
        if found["spec"] == request.body["spec"]:
            return found
        metadata = {**found["metadata"], "resourceVersion": f"{found['metadata']['resourceVersion']}1"}
        self.jobs[self.jobs.index(found)] = changed = {"metadata": metadata, "spec": request.body["spec"]}
        return changed


def a_seen_job(name: str = "test", *, namespace: str = "default", **status: Any) -> dict[str, Any]:
    """A job as the API server tells it; a status only with members."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-of-{name}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": "2027-01-15T07:50:00Z",
    }
    job: dict[str, Any] = {"metadata": metadata, "spec": {"learner": {"restart": {"maxRestarts": 3}}}}
    return {**job, "status": {"observedGeneration": 1, **status}} if status else job


def changed(job: dict[str, Any], kind: str = "MODIFIED") -> dict[str, Any]:
    """An event of a watch."""
    return {"type": kind, "object": job}
