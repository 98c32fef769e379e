"""The records of which dashboards are made.

A panel is a question that somebody has; its queries are PromQL in which `$job` and `$operator` stand for the matchers
of what the viewer has chosen.  How it is drawn is grafana.py's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and the name of each of its series."""

    text: str
    legend: str
    """Grafana's: `{{label}}` is replaced by the label's value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One question and the series that answer it."""

    question: str
    unit: str
    """Grafana's name of it."""
    description: str
    """What is normal, and what to make of the rest."""
    queries: tuple[Query, ...]
    stacked: bool = False
    """The series are parts of a whole, taken over all jobs chosen: layers of several jobs would have no meaning."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """One page."""

    name: str
    """Of its file, and of its address in Grafana after `rlvr-`."""
    title: str
    description: str
    rows: tuple[Row, ...]
    about_jobs: bool
    """The viewer chooses namespaces and jobs; otherwise operators."""

    def panels(self) -> Iterator[Panel]:
        for row in self.rows:
            yield from row.panels


def panel(question: str, *queries: Query | tuple[Query, ...], unit: str, description: str) -> Panel:
    """A row of a table: lines by job."""
    return Panel(question=question, unit=unit, description=description, queries=_flat(queries))


def layers(question: str, *queries: Query | tuple[Query, ...], unit: str, description: str) -> Panel:
    """A row of a table: parts of a whole."""
    return Panel(question=question, unit=unit, description=description, queries=_flat(queries), stacked=True)


def _flat(queries: tuple[Query | tuple[Query, ...], ...]) -> tuple[Query, ...]:
    return tuple(query for each in queries for query in ((each,) if isinstance(each, Query) else each))
