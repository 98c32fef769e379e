"""A view of jobs that lives on when the connection, or the API server, does not."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from itertools import chain
from typing import Final

from rlvr_trainer.cluster.jobs import Change, Jobs
from rlvr_trainer.cluster.requests import Object
from rlvr_trainer.cluster.views import FINISHED, phase_of, summary
from rlvr_trainer.errors import Unavailable

_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 10.0
Pause = Callable[[float], None]


def follow(jobs: Jobs, name: str | None, *, pause: Pause) -> Iterator[str]:
    """A line for each change; ends when the one job that is followed is finished or gone."""
    if name:
        jobs.get(name)
    lines: dict[str, str] = {}
    while True:
        present, version = yield from _snapshot(jobs, name, pause)
        gone = sorted(lines.keys() - {job["metadata"]["name"] for job in present})
        yield from (f"{missed}  deleted" for missed in gone if lines.pop(missed))
        if name and not present:
            return
        with suppress(Unavailable):  # a broken connection is news only if the next question is not answered either
            for change in chain(map(_as_it_is, present), jobs.changes(name, after=version)):
                yield from _news(change, lines)
                if name and (change.is_deleted or phase_of(change.job) in FINISHED):
                    return
        pause(_FIRST_PAUSE)


def _snapshot(jobs: Jobs, name: str | None, pause: Pause) -> Generator[str, None, tuple[list[Object], str]]:
    """What there is, however long the API server is away; says so once, and when it is back."""
    wait = _FIRST_PAUSE
    while True:
        try:
            found = jobs.snapshot(name)
        except Unavailable as error:
            if wait == _FIRST_PAUSE:
                yield f"{error} Trying again until it answers."
            pause(wait)
            wait = min(2 * wait, _LONGEST_PAUSE)
            continue
        if wait > _FIRST_PAUSE:
            yield "The API server is back."
        return found


def _as_it_is(job: Object) -> Change:
    return Change(job=job)


def _news(change: Change, lines: dict[str, str]) -> Iterator[str]:
    """The job's line, if it is another than the last one in `lines`."""
    name = change.job["metadata"]["name"]
    if change.is_deleted:
        lines.pop(name, None)
        yield f"{name}  deleted"
    elif lines.get(name) != (line := summary(change.job)):
        lines[name] = line
        yield line
