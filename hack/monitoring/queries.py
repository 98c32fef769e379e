"""The few forms of query that panels use, for lines by job, for all jobs together and for the operator.

Attempts and pods of a job that follow each other are one line, so nothing is drawn by pod unless a query says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from monitoring.panels import Query

RATE_WINDOW: Final = "$__rate_interval"
"""Grafana puts in a range that holds a few scrapes at any zoom."""
RARE_WINDOW: Final = "5m"
"""For events that are counted one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose series, and what is told apart whatever else is."""

    matchers: str
    by: tuple[str, ...] = ()
    line: str = ""
    """How a legend begins."""

    def newest(self, metric: str, *labels: str, words: str = "", matchers: str = "") -> Query:
        """The value of a gauge; of several, the greatest."""
        return self._query("max", f"{metric}{self._of(matchers)}", labels, words)

    def mean(self, metric: str, *labels: str, words: str = "") -> Query:
        """The value of a gauge, averaged over whoever has one."""
        return self._query("avg", f"{metric}{self._of()}", labels, words)

    def total(self, metric: str, *labels: str, words: str = "") -> Query:
        """The value of a gauge, added up."""
        return self._query("sum", f"{metric}{self._of()}", labels, words)

    def rate(self, counter: str, *labels: str, words: str = "", matchers: str = "") -> Query:
        """Increase a second."""
        return self._query("sum", f"rate({counter}{self._of(matchers)}[{RATE_WINDOW}])", labels, words)

    def increase(self, counter: str, *labels: str, words: str = "") -> Query:
        """How many in the last five minutes."""
        return self._query("sum", f"increase({counter}{self._of()}[{RARE_WINDOW}])", labels, words)

    def average(self, histogram: str, *labels: str, words: str = "") -> Query:
        """Mean of what a histogram observed."""
        above = self.rate(f"{histogram}_sum", *labels).text
        return Query(f"{above} / {self.rate(f'{histogram}_count', *labels).text}", self._legend(labels, words))

    def quantiles(self, histogram: str, *labels: str, percents: tuple[int, ...] = (50, 95)) -> tuple[Query, ...]:
        """One query for each percentile of what a histogram observed."""
        inner = self.rate(f"{histogram}_bucket", *labels, "le").text
        return tuple(
            Query(f"histogram_quantile({percent / 100:g}, {inner})", self._legend(labels, f"p{percent}"))
            for percent in percents
        )

    def _of(self, matchers: str = "") -> str:
        return "{" + ",".join(filter(None, (self.matchers, matchers))) + "}"

    def _query(self, how: str, inner: str, labels: tuple[str, ...], words: str) -> Query:
        by = ", ".join((*self.by, *labels))
        return Query(f"{how} by ({by}) ({inner})" if by else f"{how}({inner})", self._legend(labels, words))

    def _legend(self, labels: tuple[str, ...], words: str) -> str:
        return " ".join(filter(None, (self.line, words, *(f"{{{{{label}}}}}" for label in labels))))


JOB: Final = Scope(matchers="$job", by=("namespace", "rlvr_job"), line="{{rlvr_job}}")
ALL_JOBS: Final = Scope(matchers="$job")
OPERATOR: Final = Scope(matchers="$operator")
