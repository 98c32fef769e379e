"""Unix seconds to and from Kubernetes' RFC 3339 text, to the second."""

from __future__ import annotations

from datetime import UTC, datetime


def unix(text: str) -> float:
    """`2026-11-21T12:00:00Z` as Unix seconds."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def unix_or_none(text: str | None) -> float | None:
    return None if text is None else unix(text)


def rfc3339(seconds: float) -> str:
    """Unix seconds as Kubernetes writes them."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_or_none(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
