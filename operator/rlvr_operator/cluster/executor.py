"""Carry out a plan: the order is the one that `plan.py` documents, requests of one kind go out together.

What the API server refuses is collected, not raised: the next look at the job sees it.  Answers to writes go into the
caches at once.  One status write, guarded by the resource version that the plan was made from; events only after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rlvr_api import RLVRJobStatus, contract
from rlvr_operator.cluster.cache import Cache, Key
from rlvr_operator.cluster.client import Client
from rlvr_operator.cluster.events import Recorder
from rlvr_operator.cluster.ownership import is_left_behind, is_of, taken
from rlvr_operator.cluster.resources import JOBS, PODS, Raw, Resource, resource_of
from rlvr_operator.errors import ApiError, Conflict, Missing
from rlvr_operator.observed import JobSeen, PodSeen, Refusal
from rlvr_operator.plan import ChildDeletion, Event, Manifest, Plan, PodDeletion

log = logging.getLogger(__name__)
_NEWS_SECONDS: Final = 5.0
"""A job heard of so lately need not be asked for before something is made for it."""


@dataclass(frozen=True, slots=True)
class JobHeld:
    """A job as it was last seen, with what a guarded write needs."""

    seen: JobSeen
    status: Mapping[str, Any] = field(compare=False)
    """As the API server has it."""
    version: str = field(compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caches:
    """Where the answers to writes go."""

    jobs: Cache[JobHeld]
    pods: Cache[PodSeen]
    children: Mapping[Resource, Cache[str]]


class Executor:
    """Makes the writes of plans, `writes` at a time over all jobs."""

    def __init__(
        self,
        client: Client,
        caches: Caches,
        recorder: Recorder,
        *,
        read_job: Callable[[Raw], JobHeld],
        writes: int = 12,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._caches = caches
        self._recorder = recorder
        self._read_job = read_job
        self._slots = asyncio.Semaphore(writes)
        self._clock = clock

    async def carry_out(self, job: JobHeld, plan: Plan) -> tuple[Refusal, ...]:
        """What was refused; raises when the server cannot be used or the job has changed meanwhile."""
        if plan.finalizer == "add":
            job = await self._set_finalizers(job, (*job.seen.finalizers, contract.FINALIZER))
        elif plan.apply or plan.create:
            await self._confirm(job.seen)
        refusals = [
            *await self._each({f"Pod/{it.name}": self._delete_pod(job.seen, it) for it in plan.delete_pods}),
            *await self._each(
                {f"{it.kind}/{it.name}": self._delete_child(job.seen, it) for it in plan.delete_children}
            ),
        ]
        refusals += await self._make(job.seen, plan)
        if actions := actions_of(plan):
            refused = ", of which the API server refused " + ", ".join(it.what for it in refusals) if refusals else ""
            log.info("%s/%s: %s%s", job.seen.namespace, job.seen.name, "; ".join(actions), refused)
        if plan.status is not None:
            job = await self._write_status(job, plan.status)
        for event in plan.events:
            await self._tell(job.seen, event)
        if plan.finalizer == "remove":
            await self._set_finalizers(job, tuple(it for it in job.seen.finalizers if it != contract.FINALIZER))
        if plan.delete_job:
            await self._delete_job(job.seen)
        return tuple(refusals)

    async def _make(self, job: JobSeen, plan: Plan) -> list[Refusal]:
        """Children, then pods; no pod while a child is refused, for a NetworkPolicy or the job's file could be it."""
        names: dict[str, Coroutine[Any, Any, Any]] = {_what(it): self._uid_of(job, it) for it in plan.later}
        refused = await self._each(names | {_what(it): self._apply(job, it) for it in plan.apply})
        return refused or await self._each({_what(it): self._create(job, it) for it in plan.create})

    async def _confirm(self, job: JobSeen) -> None:
        """Missing when the job is gone although no watch said so: nothing is made for a ghost."""
        key = Key(job.namespace, job.name)
        entry = self._caches.jobs.find(key, job.name)
        if entry is not None and time.monotonic() - entry.seen_at < _NEWS_SECONDS:
            return
        try:
            self._caches.jobs.note(found := await self._client.get(JOBS, job.name, namespace=job.namespace))
        except Missing:
            self._caches.jobs.forget(key, job.name, uid=job.uid)
            raise
        if found["metadata"]["uid"] != job.uid:
            raise Conflict(f"RLVRJob {job.name} is another one of that name by now.", code=409)

    async def _each(self, writes: Mapping[str, Coroutine[Any, Any, Any]]) -> list[Refusal]:
        """Make all writes, then raise what keeps us from writing at all; refusals are returned."""
        outcomes = await asyncio.gather(*(self._one(write) for write in writes.values()), return_exceptions=True)
        refusals = []
        for what, outcome in zip(writes, outcomes, strict=True):
            if isinstance(outcome, ApiError):
                refusals.append(Refusal(what=what, code=outcome.code, message=str(outcome), at=self._clock()))
            elif isinstance(outcome, BaseException):
                raise outcome
        return refusals

    async def _one(self, write: Coroutine[Any, Any, Any]) -> None:
        async with self._slots:
            await write

    async def _create(self, job: JobSeen, pod: Manifest) -> None:
        """A name that exists already is success when it is this job's."""
        name, namespace = pod["metadata"]["name"], job.namespace
        created = await self._client.create(pod)
        if created is None:
            created = await self._client.get(PODS, name, namespace=namespace)
            if not is_of(job, created):
                raise Conflict(taken(job, created), code=409)
        self._caches.pods.note(created)

    async def _delete_pod(self, job: JobSeen, pod: PodDeletion) -> None:
        with contextlib.suppress(Missing, Conflict):  # gone, or another incarnation of the name
            answer = await self._client.delete(
                PODS, pod.name, namespace=job.namespace, uid=pod.uid, grace=pod.grace_seconds
            )
            if answer.get("kind") == PODS.kind:
                self._caches.pods.note(answer)

    async def _apply(self, job: JobSeen, child: Manifest) -> None:
        """Made, or brought up to date; an object of that name that is not this job's is a refusal."""
        cache = self._caches.children[resource_of(child)]
        known = cache.find(Key(job.namespace, job.name), child["metadata"]["name"])
        uid = known.uid if known is not None and known.owner == job.uid else ""
        try:
            applied = await self._client.apply(child, uid=uid)
        except Conflict:
            applied = await self._client.apply(child, uid=await self._uid_of(job, child))
        cache.note(applied)

    async def _uid_of(self, job: JobSeen, child: Manifest) -> str:
        """The uid of what has the child's name and is this job's; empty when nothing has the name, or not any more."""
        resource, name = resource_of(child), child["metadata"]["name"]
        try:
            found = await self._client.get(resource, name, namespace=job.namespace)
        except Missing:
            return ""
        if is_of(job, found):
            return str(found["metadata"]["uid"])
        if not is_left_behind(job, found):
            raise Conflict(taken(job, found), code=409)
        with contextlib.suppress(Missing):
            await self._client.delete(resource, name, namespace=job.namespace, uid=found["metadata"]["uid"])
        return ""

    async def _delete_child(self, job: JobSeen, child: ChildDeletion) -> None:
        if child.api_version:
            resource = Resource(child.api_version, child.kind)
            with contextlib.suppress(Missing):
                await self._client.delete(resource, child.name, namespace=job.namespace)
            return
        key = Key(job.namespace, job.name)
        for resource, cache in self._caches.children.items():
            entry = cache.find(key, child.name) if resource.kind == child.kind else None
            if entry is not None:
                with contextlib.suppress(Missing, Conflict):  # gone, or another of that name
                    await self._client.delete(resource, child.name, namespace=job.namespace, uid=entry.uid)

    async def _write_status(self, job: JobHeld, status: RLVRJobStatus) -> JobHeld:
        wanted = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        return await self._patch_job(job, {"status": difference(job.status, wanted)}, sub="status")

    async def _set_finalizers(self, job: JobHeld, finalizers: tuple[str, ...]) -> JobHeld:
        return await self._patch_job(job, {"metadata": {"finalizers": list(finalizers)}})

    async def _patch_job(self, job: JobHeld, change: Raw, *, sub: str = "") -> JobHeld:
        """The job afterwards; Conflict when it is not any more as the plan saw it."""
        seen, key = job.seen, Key(job.seen.namespace, job.seen.name)
        guard = {"resourceVersion": job.version, "uid": seen.uid}
        body = {**change, "metadata": {**change.get("metadata", {}), **guard}}
        try:
            answer = await self._client.patch(JOBS, seen.name, namespace=seen.namespace, body=body, sub=sub)
        except Missing:
            self._caches.jobs.forget(key, seen.name, uid=seen.uid)
            raise
        self._caches.jobs.note(answer)
        entry = self._caches.jobs.find(key, seen.name)
        return self._read_job(answer) if entry is None else entry.value

    async def _delete_job(self, job: JobSeen) -> None:
        with contextlib.suppress(Missing, Conflict):  # gone, or another of that name
            await self._client.delete(JOBS, job.name, namespace=job.namespace, uid=job.uid)

    async def _tell(self, job: JobSeen, event: Event) -> None:
        """An event that is refused (a namespace that goes away, say) is not worth more than a line."""
        try:
            await self._recorder.tell(job, event)
        except ApiError as error:
            log.info("%s/%s: event %s was refused: %s", job.namespace, job.name, event.reason, error)


def actions_of(plan: Plan) -> list[str]:
    """What is done to the world, in words; a status says its own."""
    return [
        *(f"deleted pod {it.name} ({it.reason})" for it in plan.delete_pods),
        *(f"deleted {it.kind}/{it.name}" for it in plan.delete_children),
        *([f"applied {', '.join(map(_what, plan.apply))}"] if plan.apply else []),
        *([f"created {', '.join(it['metadata']['name'] for it in plan.create)}"] if plan.create else []),
        *(["lets the job go"] if plan.finalizer == "remove" else []),
        *(["deletes the job"] if plan.delete_job else []),
    ]


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Raw:
    """The JSON merge patch that turns `old` into `new`: what is not wanted any more is null, lists are whole."""
    gone: Raw = dict.fromkeys(old.keys() - new.keys())
    changed = {key: value for key, value in new.items() if key not in old or old[key] != value}
    return gone | {
        key: difference(old[key], value) if isinstance(value, Mapping) and isinstance(old.get(key), Mapping) else value
        for key, value in changed.items()
    }


def _what(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"
