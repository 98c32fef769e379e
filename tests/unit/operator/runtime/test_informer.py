"""List, watch, and go on: nothing is lost, and nothing is inferred from a failed request."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rlvr_operator.cluster.cache import Cache, Key
from rlvr_operator.cluster.informer import Informer, Pace, Reach
from rlvr_operator.cluster.requests import Scope
from rlvr_operator.cluster.resources import PODS, Raw
from rlvr_operator.errors import Expired, OperatorError, Unavailable
from runtime_fakes import a_raw_pod

SUMS = Key("research", "sums")
PACE = Pace(watch_seconds=1.0, retry_ceiling=0.01)


def a_pod(name: str, version: int) -> Raw:
    raw = a_raw_pod(name)
    raw["metadata"] |= {"uid": f"uid-{name}", "resourceVersion": str(version)}
    return raw


def seen(kind: str, raw: Raw) -> Raw:
    return {"type": kind, "object": raw}


def bookmark(version: int) -> Raw:
    return seen("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


class Script:
    """A client whose lists and watches are written down; waits for ever at the end."""

    def __init__(self, *steps: Any) -> None:
        self.steps = list(steps)
        self.asked: list[str] = []
        self.over = asyncio.Event()

    async def _step(self) -> Any:
        if not self.steps:
            self.over.set()
            await asyncio.Event().wait()
        step = self.steps.pop(0)
        if isinstance(step, OperatorError):
            raise step
        return step

    async def list(self, _scope: Scope) -> AsyncIterator[Raw]:
        self.asked.append("list")
        for part in await self._step():
            yield part

    async def watch(self, _scope: Scope, version: str, *, seconds: float) -> AsyncIterator[Raw]:
        assert seconds <= PACE.watch_seconds
        self.asked.append(f"watch {version}")
        for event in await self._step():
            yield event


def a_list(version: int, *pods: Raw) -> list[Raw]:
    return [{"metadata": {"resourceVersion": str(version)}, "items": list(pods) or None}]


async def played(*steps: Any) -> tuple[list[str], list[str]]:
    """Names in the cache at the end of the script, and what was asked."""
    script = Script(*steps)
    cache: Cache[str] = Cache(lambda raw: str(raw["metadata"]["name"]), lambda _key: None)
    informer = Informer(script, Scope(resource=PODS), cache, reach=Reach(), pace=PACE)  # type: ignore[arg-type]
    running = asyncio.ensure_future(informer.run())
    await asyncio.wait_for(script.over.wait(), 5.0)
    running.cancel()
    return sorted(entry.name for entry in cache.of(SUMS)), script.asked


async def test_what_is_listed_and_what_happens_afterwards_is_known() -> None:
    a, b, c = (a_pod(f"sums-rollout-{index}-a0", 10 + index) for index in range(3))
    names, asked = await played(a_list(12, a, b), [seen("ADDED", c), seen("DELETED", a)])

    assert names == ["sums-rollout-1-a0", "sums-rollout-2-a0"]
    assert asked[:2] == ["list", "watch 12"]


async def test_a_watch_that_ends_goes_on_from_the_last_bookmark() -> None:
    _, asked = await played(a_list(12), [bookmark(40)], [])

    assert asked == ["list", "watch 12", "watch 40", "watch 40"]


async def test_a_lost_connection_goes_on_where_it_was_without_a_new_list() -> None:
    a = a_pod("sums-rollout-0-a0", 13)
    names, asked = await played(a_list(12), [seen("ADDED", a)], Unavailable("reset"), [])

    assert asked == ["list", "watch 12", "watch 13", "watch 13", "watch 13"]
    assert names == ["sums-rollout-0-a0"]


async def test_a_forgotten_version_means_a_new_list_and_what_is_missing_from_it_is_gone() -> None:
    a, b = (a_pod(f"sums-rollout-{index}-a0", 10 + index) for index in range(2))
    names, asked = await played(a_list(12, a, b), Expired("too old", code=410), a_list(90, b), [])

    assert names == ["sums-rollout-1-a0"]
    assert asked[:4] == ["list", "watch 12", "list", "watch 90"]


async def test_failed_lists_remove_nothing() -> None:
    a = a_pod("sums-rollout-0-a0", 10)
    names, _ = await played(a_list(12, a), Expired("too old", code=410), Unavailable("away"), Unavailable("away"))

    assert names == ["sums-rollout-0-a0"]


async def test_a_version_that_cannot_be_watched_for_other_reasons_is_given_up_after_three_attempts() -> None:
    _, asked = await played(a_list(12), *(Unavailable("504") for _ in range(3)), a_list(12), [])

    assert asked[:5] == ["list", "watch 12", "watch 12", "watch 12", "list"]


async def test_it_is_complete_only_after_a_whole_list() -> None:
    script = Script([{"metadata": {"resourceVersion": "5"}, "items": []}])
    informer = Informer(script, Scope(resource=PODS), Cache(str, lambda _: None), reach=Reach(), pace=PACE)  # type: ignore[arg-type]
    assert not informer.synced.is_set()
    running = asyncio.ensure_future(informer.run())
    await asyncio.wait_for(informer.synced.wait(), 5.0)
    running.cancel()


def test_an_outage_is_two_lines_in_the_log_however_many_notice_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reach = Reach()
    for _ in range(100):
        for who in ("pods", "services"):
            reach.failed(who, Unavailable("connection refused"))
    reach.worked("pods")
    reach.worked("services")
    reach.worked("services")

    assert len(caplog.records) == 2
    assert "connection refused" in caplog.text
