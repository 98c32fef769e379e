"""Whether this process works: /livez, /readyz and /metrics.

Ready: every cache is complete and every watch was heard lately; a replica that waits for the Lease is ready too.
Alive: unless a watch is silent although the API server answers, for then only a restart helps; an API server that is
away is no reason to be restarted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from rlvr_operator.metrics import Board

_PATIENCE: Final = 2.0
"""A watch has this many times `stale_after` to come back by itself while the server answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What health is judged by; ages are seconds."""

    ages: Mapping[str, float]
    """Of each watch, since it was last heard."""
    unsynced: frozenset[str]
    """Caches that are not complete yet."""
    server_age: float
    """Since the API server last answered anything."""
    is_leader: bool
    queued: int
    jobs: Mapping[str, int]
    """Number of jobs by phase."""


def problems_of_readiness(vitals: Vitals, *, stale_after: float) -> list[str]:
    """Why the process should not be relied on; empty when it is ready."""
    missing = [f"{name} has not been listed yet" for name in sorted(vitals.unsynced)]
    stale = [
        f"{name} was not heard for {age:.0f} s (limit {stale_after:.0f})"
        for name, age in sorted(vitals.ages.items())
        if age > stale_after
    ]
    return missing + stale


def problems_of_life(vitals: Vitals, *, stale_after: float) -> list[str]:
    """Why the process should be restarted; empty when that would not help."""
    if vitals.server_age > stale_after:
        return []
    return [
        f"{name} was not heard for {age:.0f} s although the API server answers"
        for name, age in sorted(vitals.ages.items())
        if age > _PATIENCE * stale_after
    ]


def application(vitals: Callable[[], Vitals], board: Board, *, stale_after: float) -> web.Application:
    """The three routes."""

    async def livez(_request: web.Request) -> web.Response:
        return _verdict(problems_of_life(vitals(), stale_after=stale_after))

    async def readyz(_request: web.Request) -> web.Response:
        return _verdict(problems_of_readiness(vitals(), stale_after=stale_after))

    async def metrics(_request: web.Request) -> web.Response:
        show(vitals(), board)
        return web.Response(body=board.render(), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    return app


def show(vitals: Vitals, board: Board) -> None:
    """Gauges are set when somebody asks."""
    board.set("rlvr_operator_leader", float(vitals.is_leader))
    board.set("rlvr_operator_queue_keys", vitals.queued)
    board.set_all("rlvr_operator_watch_age_seconds", "resource", vitals.ages)
    board.set_all("rlvr_operator_jobs", "phase", vitals.jobs)


def count_phases(phases: list[str | None]) -> dict[str, int]:
    """Jobs by phase; one that was not looked at yet is Pending."""
    return dict(Counter(phase or "Pending" for phase in phases))


def _verdict(problems: list[str]) -> web.Response:
    return web.Response(text="\n".join(problems) or "ok", status=503 if problems else 200)
