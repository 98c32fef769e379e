"""Every metric, from the two tables that declare them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import rlvr_operator.metrics
import rlvr_trainer.metrics
from pages.tables import page, table

Row = tuple[str, str, str, str]


def metrics_page() -> str:
    """docs/reference/metrics.md."""
    return page("Metrics", _lines())


def operator_rows() -> Iterator[Row]:
    """Name, kind, labels, meaning."""
    for metric in rlvr_operator.metrics.TABLE:
        yield _row(metric.name, metric.kind.__name__, metric.labels, metric.description)


def trainer_rows(role: str) -> Iterator[Row]:
    """The same of one role, told by the name's second word."""
    for metric in rlvr_trainer.metrics.TABLE:
        if metric.name.split("_")[1] == role:
            yield _row(metric.name, metric.kind.value.__name__, metric.labels, metric.description)


def roles() -> list[str]:
    """In the order of the table."""
    return list(dict.fromkeys(metric.name.split("_")[1] for metric in rlvr_trainer.metrics.TABLE))


def _row(name: str, kind: str, labels: Iterable[str], description: str) -> Row:
    return f"`{name}`", kind.lower(), ", ".join(f"`{label}`" for label in labels), description


def _lines() -> Iterator[str]:
    yield "Base units; counters end in `_total`.  A gauge is there once it has a value: an unknown is absent."
    yield "A learner's gauges are the newest step's, and are in its step reports under the same names."
    yield ""
    for role, rows in {"operator": operator_rows(), **{role: trainer_rows(role) for role in roles()}}.items():
        yield f"## rlvr_{role}"
        yield ""
        yield from table(("Name", "Kind", "Labels", "Meaning"), rows)
