"""The operator's one table of metrics.  Base units; counters end in `_total`.

A gauge appears once it has a value: an unknown is absent, never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

Live = Counter | Gauge | Histogram
_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300)


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table."""

    name: str
    kind: type[Live]
    description: str
    labels: tuple[str, ...] = ()


TABLE: Final[tuple[Metric, ...]] = (
    Metric("rlvr_operator_leader", Gauge, "1 while this process holds the Lease, else 0."),
    Metric("rlvr_operator_jobs", Gauge, "RLVRJobs by phase.", ("phase",)),
    Metric("rlvr_operator_queue_keys", Gauge, "Jobs waiting to be looked at now."),
    Metric("rlvr_operator_watch_age_seconds", Gauge, "Since the watch was last heard.", ("resource",)),
    Metric("rlvr_operator_reconcile_seconds", Histogram, "One look at one job, its writes included."),
    Metric(
        "rlvr_operator_event_to_reconcile_seconds", Histogram, "From the first event about a job to the look at it."
    ),
    Metric("rlvr_operator_reconcile_errors_total", Counter, "Looks that ended in an error, by kind.", ("kind",)),
    Metric("rlvr_operator_refusals_total", Counter, "Objects that the API server refused, by code.", ("code",)),
    Metric(
        "rlvr_operator_api_requests_total",
        Counter,
        "Requests to the API server by outcome; code 0 is no answer.",
        ("verb", "resource", "code"),
    ),
    Metric("rlvr_operator_progress_requests_total", Counter, "Questions to coordinators by outcome.", ("outcome",)),
)
_ROWS: Final = {row.name: row for row in TABLE}


class Board:
    """The metrics of this process; a name that is not in TABLE is a programming error."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._live: dict[str, Live] = {}

    def _metric(self, name: str) -> Live:
        if name not in self._live:
            row = _ROWS[name]
            if row.kind is Histogram:
                self._live[name] = Histogram(
                    name, row.description, row.labels, registry=self._registry, buckets=_SECONDS
                )
            else:
                self._live[name] = row.kind(name, row.description, row.labels, registry=self._registry)
        return self._live[name]

    def set(self, name: str, value: float, **labels: str) -> None:
        """Give a gauge its newest value."""
        metric = self._metric(name)
        assert isinstance(metric, Gauge), f"{name} is not a gauge"
        (metric.labels(**labels) if labels else metric).set(value)

    def set_all(self, name: str, label: str, values: Mapping[str, float]) -> None:
        """Give a gauge with one label these values and no others."""
        metric = self._metric(name)
        assert isinstance(metric, Gauge), f"{name} is not a gauge"
        metric.clear()
        for key, value in values.items():
            metric.labels(**{label: key}).set(value)

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Count `amount` more."""
        metric = self._metric(name)
        assert isinstance(metric, Counter), f"{name} is not a counter"
        (metric.labels(**labels) if labels else metric).inc(amount)

    def observe(self, name: str, value: float) -> None:
        """Put one value into a histogram."""
        metric = self._metric(name)
        assert isinstance(metric, Histogram), f"{name} is not a histogram"
        metric.observe(value)

    def render(self) -> bytes:
        """Prometheus text format."""
        return generate_latest(self._registry)
