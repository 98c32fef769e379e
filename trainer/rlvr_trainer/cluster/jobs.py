"""RLVRJobs of one namespace: the verbs.  What an answer means to a reader is in `views`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rlvr_api import contract
from rlvr_api.complaints import nearest
from rlvr_trainer.cluster.refusals import NotFound, NotPermitted
from rlvr_trainer.cluster.requests import APPLY, MERGE, TABLE, Api, Object, Request, Resource
from rlvr_trainer.errors import Unavailable

MANAGER: Final = "rlvr"
SILENCE_SECONDS: Final = 90.0
"""A watch that says nothing for so long is dead: the API server sends a bookmark every minute."""
Outcome = Literal["created", "configured", "unchanged"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One event of a watch."""

    job: Object
    is_deleted: bool = False


class Jobs:
    """RLVRJobs of one namespace of one API server."""

    def __init__(self, api: Api, *, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    def submit(self, manifest: Object) -> tuple[Object, Outcome]:
        """Apply `manifest`, which wins over fields that others set; RefusedJob names each field that cannot be."""
        name = manifest["metadata"]["name"]
        before = self._find(name)
        query = {"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict"}
        after = self._change(name, manifest, content=APPLY, query=query)
        if before is None:
            return after, "created"
        is_same = before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
        return after, "unchanged" if is_same else "configured"

    def get(self, name: str) -> Object:
        """The job; NotFound with names like it."""
        found = self._find(name)
        if found is None:
            raise NotFound(f"there is no job {name!r} in namespace {self.namespace}: {self._way_to(name)}")
        return found

    def listing(self, *, everywhere: bool = False) -> Object:
        """All jobs, as an RLVRJobList."""
        namespace = None if everywhere else self.namespace
        return self._api.ask(Request(verb="list", resource="rlvrjobs", namespace=namespace))

    def table(self, *, everywhere: bool = False) -> Object:
        """The same as a metav1.Table, with the columns that kubectl shows."""
        namespace = None if everywhere else self.namespace
        return self._api.ask(Request(verb="list", resource="rlvrjobs", namespace=namespace, accept=TABLE))

    def suspend(self, name: str, *, wanted: bool) -> bool:
        """Suspend or resume; False when the job is that way already."""
        if bool(self.get(name)["spec"].get("suspend")) == wanted:
            return False
        self._change(name, {"spec": {"suspend": wanted}}, content=MERGE, query={"fieldManager": MANAGER})
        return True

    def delete(self, name: str) -> Object:
        """Ask for deletion; the job as it is then, for its last checkpoint may take a while."""
        job = self.get(name)
        self._api.ask(Request(verb="delete", resource="rlvrjobs", namespace=self.namespace, name=name))
        return job

    def is_there(self, name: str, *, uid: str) -> bool:
        """Whether that very job still exists."""
        found = self._find(name)
        return found is not None and found["metadata"]["uid"] == uid

    def pods(self, name: str) -> list[Object]:
        return self._items("pods", labelSelector=f"{contract.LABEL_JOB}={name}")

    def events(self, job: Object) -> list[Object]:
        """Events about the job, in no order."""
        return self._items("events", fieldSelector=f"involvedObject.uid={job['metadata']['uid']}")

    def log(self, pod: str, container: str, *, follow: bool, previous: bool) -> Iterator[str]:
        """Lines of one container's log."""
        query = {"container": container, "follow": str(follow).lower(), "previous": str(previous).lower()}
        request = Request(verb="get", resource="pods/log", namespace=self.namespace, name=pod, query=query)
        yield from self._api.lines(request, silence_seconds=None if follow else SILENCE_SECONDS)

    def snapshot(self, name: str | None) -> tuple[list[Object], str]:
        """The one job, or all, as they are now, and the resource version of that moment."""
        query = _selector(name)
        found = self._api.ask(Request(verb="list", resource="rlvrjobs", namespace=self.namespace, query=query))
        return found["items"], found["metadata"]["resourceVersion"]

    def changes(self, name: str | None, *, after: str) -> Iterator[Change]:
        """Changes since resource version `after` until the server ends the stream; Unavailable when it breaks."""
        query = _selector(name) | {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": after}
        request = Request(verb="watch", resource="rlvrjobs", namespace=self.namespace, query=query)
        for line in self._api.lines(request, silence_seconds=SILENCE_SECONDS):
            event = json.loads(line)
            if event["type"] == "ERROR":
                raise Unavailable(f"the watch ended: {event['object'].get('message')}.")
            if event["type"] != "BOOKMARK":
                yield Change(job=event["object"], is_deleted=event["type"] == "DELETED")

    def _find(self, name: str) -> Object | None:
        try:
            return self._api.ask(Request(verb="get", resource="rlvrjobs", namespace=self.namespace, name=name))
        except NotFound:
            return None

    def _way_to(self, name: str) -> str:
        names = sorted(job["metadata"]["name"] for job in self.listing()["items"])
        if names:
            return nearest(name, names)
        try:
            places = sorted(
                job["metadata"]["namespace"]
                for job in self.listing(everywhere=True)["items"]
                if job["metadata"]["name"] == name
            )
        except NotPermitted:
            places = []
        return f"it is in namespace {places[0]}, add -n {places[0]}." if places else "there is no job at all."

    def _change(self, name: str, body: Object, *, content: str, query: dict[str, str]) -> Object:
        return self._api.ask(
            Request(
                verb="patch",
                resource="rlvrjobs",
                namespace=self.namespace,
                name=name,
                body=body,
                content=content,
                query=query,
            )
        )

    def _items(self, resource: Resource, **query: str) -> list[Object]:
        answer = self._api.ask(Request(verb="list", resource=resource, namespace=self.namespace, query=query))
        found: list[Object] = answer["items"]
        return found


def _selector(name: str | None) -> dict[str, str]:
    return {"fieldSelector": f"metadata.name={name}"} if name else {}
