"""When time alone could change what reconcile says.  Pure."""

from __future__ import annotations

from collections.abc import Iterator

from rlvr_operator.lifecycle.admission import is_queued
from rlvr_operator.lifecycle.deadlines import active_until, startup_until
from rlvr_operator.lifecycle.deletion import release_at
from rlvr_operator.lifecycle.facts import REFUSAL_SECONDS, Facts
from rlvr_operator.lifecycle.finished import expires_at
from rlvr_operator.lifecycle.hang import hung_at, straggling_at
from rlvr_operator.lifecycle.images import image_times
from rlvr_operator.lifecycle.lost import lost_at, stuck_at
from rlvr_operator.lifecycle.postponed import due_times
from rlvr_operator.lifecycle.replacement import replacement_times
from rlvr_operator.lifecycle.strength import retry_at
from rlvr_operator.status import first_word_at


def look_again_after(facts: Facts) -> float | None:
    """Seconds until the next moment that matters; never less than one, for clocks differ."""
    ahead = [at for at in _times(facts) if at is not None and at > facts.now]
    return max(min(ahead) - facts.now, 1.0) if ahead else None


def _times(facts: Facts) -> Iterator[float | None]:
    yield from (stuck_at(facts, pod) for pod in facts.seen.pods)
    if facts.job.deleted_at is not None:
        yield release_at(facts)
    elif facts.has_finished:
        yield expires_at(facts)
    elif not facts.problems and not facts.spec.suspend:
        yield retry_at(facts)
        yield from (no.at + REFUSAL_SECONDS for no in facts.refusals)
        yield from replacement_times(facts)
        yield from due_times(facts)
        yield first_word_at(facts)
        yield from (lost_at(facts, pod) for pod in facts.seen.pods)
        if not is_queued(facts):
            yield from _deadlines(facts)


def _deadlines(facts: Facts) -> Iterator[float | None]:
    yield active_until(facts)
    yield startup_until(facts)
    yield hung_at(facts)
    yield straggling_at(facts)
    yield from image_times(facts)
