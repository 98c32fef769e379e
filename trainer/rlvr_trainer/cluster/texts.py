"""Tables, ages and other small shapes of text, as kubectl writes them.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

_GAP: Final = "   "
_UNITS: Final = ((1, "s", 120), (60, "m", 180), (3600, "h", 48), (86400, "d", 0))
"""Seconds in a unit, its letter, and how many of it are written before the next unit is used; 0 is without end."""


def columns(rows: Iterable[Sequence[object]]) -> str:
    """Aligned columns; None is empty."""
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def age(seconds: float) -> str:
    """`93s`, `12m`, `3h`, `9d`."""
    whole = max(0, int(seconds))
    for size, letter, most in _UNITS:
        if not most or whole < most * size:
            return f"{whole // size}{letter}"
    raise AssertionError("days have no end")


def since(timestamp: str | None, now: float) -> str:
    """The age of an RFC 3339 time; empty when there is none."""
    return age(now - datetime.fromisoformat(timestamp).timestamp()) if timestamp else ""
