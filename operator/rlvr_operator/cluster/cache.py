"""Objects of one kind as they were last seen, by the job that they belong to.

Fed by a watch and by the answers to our own writes, so that what was just created is there before the watch tells.
Each object is read once, when it changes; what is kept is what `read` makes of it.  Resource versions are compared as
numbers, which Kubernetes promises since 1.35 and did before.  Rings only when what is kept has changed.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from rlvr_api import contract
from rlvr_operator.cluster.resources import Raw

T = TypeVar("T")
_TRUST_SECONDS: Final = 30.0
"""So long something newer than a list outweighs the list.  Not longer: a restored etcd starts with older versions."""
_MOST_TOMBSTONES: Final = 10_000


class Key(NamedTuple):
    """A job."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One object."""

    name: str
    uid: str
    version: int
    job: Key
    owner: str
    """Uid of the controlling owner."""
    value: T
    seen_at: float


class Cache(Generic[T]):
    """What is known about objects of one kind."""

    def __init__(
        self,
        read: Callable[[Raw], T | None],
        ring: Callable[[Key], None],
        *,
        job_of: Callable[[Raw], Key | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._ring = ring
        self._job_of = job_of or job_by_label
        self._clock = clock
        self._jobs: dict[Key, dict[str, Entry[T]]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._jobs.values()))

    def jobs(self) -> list[Key]:
        """Jobs that own something."""
        return list(self._jobs)

    def of(self, job: Key) -> tuple[Entry[T], ...]:
        """What belongs to a job of that name, whichever its uid."""
        return tuple(self._jobs.get(job, {}).values())

    def entries(self) -> Iterator[Entry[T]]:
        for entries in self._jobs.values():
            yield from entries.values()

    def find(self, job: Key, name: str) -> Entry[T] | None:
        return self._jobs.get(job, {}).get(name)

    def put(self, raw: Raw) -> None:
        """What a watch or list said."""
        self._store(raw)

    def note(self, raw: Raw) -> None:
        """What the answer to our own write said; an object that is known to be gone stays gone."""
        if raw["metadata"]["uid"] not in self._gone:
            self._store(raw)

    def remove(self, raw: Raw) -> None:
        """What a watch said is gone."""
        job, metadata = self._job_of(raw), raw["metadata"]
        if job is not None:
            self.forget(job, metadata["name"], uid=metadata["uid"])

    def forget(self, job: Key, name: str, *, uid: str) -> None:
        """That incarnation of the name is gone for good."""
        self._bury(uid)
        entry = self.find(job, name)
        if entry is not None and entry.uid == uid:
            self._drop(entry)

    def keep_only(self, uids: set[str], *, version: int) -> None:
        """After a complete list at `version`: what is not in it is gone, unless it has been seen since."""
        for entry in list(self.entries()):
            is_newer = entry.version > version and self._clock() - entry.seen_at < _TRUST_SECONDS
            if entry.uid not in uids and not is_newer:
                self._bury(entry.uid)
                self._drop(entry)

    def _store(self, raw: Raw) -> None:
        job, metadata = self._job_of(raw), raw["metadata"]
        if job is None:
            return
        known = self.find(job, metadata["name"])
        version = int(metadata["resourceVersion"])
        if known is not None and known.uid == metadata["uid"] and version <= known.version:
            return
        value = self._read(raw)
        if value is None:
            return
        entry = Entry(metadata["name"], metadata["uid"], version, job, _owner(raw), value, self._clock())
        self._jobs.setdefault(job, {})[entry.name] = entry
        if known is None or known.uid != entry.uid or known.value != value:
            self._ring(job)

    def _drop(self, entry: Entry[T]) -> None:
        entries = self._jobs[entry.job]
        del entries[entry.name]
        if not entries:
            del self._jobs[entry.job]
        self._ring(entry.job)

    def _bury(self, uid: str) -> None:
        self._gone[uid] = None
        if len(self._gone) > _MOST_TOMBSTONES:
            self._gone.popitem(last=False)


def job_by_label(raw: Raw) -> Key | None:
    """The job that a child belongs to."""
    metadata = raw["metadata"]
    name = metadata.get("labels", {}).get(contract.LABEL_JOB)
    return Key(metadata.get("namespace", ""), name) if name else None


def job_itself(raw: Raw) -> Key:
    """The job that an RLVRJob is."""
    return Key(raw["metadata"].get("namespace", ""), raw["metadata"]["name"])


def _owner(raw: Raw) -> str:
    owners = raw["metadata"].get("ownerReferences", ())
    return next((owner["uid"] for owner in owners if owner.get("controller")), "")
