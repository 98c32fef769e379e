"""Geometry of the charts made of bars: stacked by step, or columns side by side.  Pure.

Like charts.py, whose frame and ticks they share; bars begin at zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rlvr_trainer.one_machine.report.charts import (
    LEFT,
    RIGHT,
    WIDTH,
    Box,
    Chart,
    Frame,
    Point,
    Tick,
    bucketed,
    columns_of,
    exact,
    nice_ticks,
    padded,
    short,
    span_of,
    step_ticks,
    story,
)


def stacked_chart(title: str, *, unit: str, series: Mapping[str, Sequence[Point]]) -> Chart | None:
    """One bar per step, split by series; None when there is nothing to draw."""
    series = {name: bucketed(points) for name, points in series.items() if points}
    columns = columns_of(series)
    if not columns:
        return None
    ticks = nice_ticks([0.0, *(sum(parts.values()) for parts in columns.values())])
    frame = Frame(x=padded(span_of(list(columns))), y=(ticks[0], ticks[-1]))
    return Chart(
        title=title,
        unit=unit,
        summary=" ".join(story(name, points) for name, points in series.items()),
        legend=tuple(series),
        x_ticks=step_ticks(frame),
        y_ticks=tuple(Tick(at=frame.top(value), label=short(value)) for value in ticks),
        bars=tuple(
            box for x, parts in columns.items() for box in _stack(x, parts, frame, names=tuple(series), of=len(columns))
        ),
    )


def column_chart(title: str, *, unit: str, x_name: str, series: Mapping[str, Mapping[int, float]]) -> Chart | None:
    """Columns of each series side by side over whole numbers; None when there is nothing to draw."""
    series = {name: columns for name, columns in series.items() if columns}
    places = sorted({place for columns in series.values() for place in columns})
    if not places:
        return None
    ticks = nice_ticks([0.0, *(value for columns in series.values() for value in columns.values())])
    frame = Frame(x=padded(span_of([float(place) for place in places])), y=(ticks[0], ticks[-1]))
    return Chart(
        title=title,
        unit=unit,
        summary=" ".join(f"{name}: {_columns_told(columns)}." for name, columns in series.items()),
        legend=tuple(series),
        x_ticks=tuple(Tick(at=frame.left(place), label=str(place)) for place in _every(places)),
        y_ticks=tuple(Tick(at=frame.top(value), label=short(value)) for value in ticks),
        bars=tuple(
            _column(place, value, frame, name=name, color=color, of=(len(places), len(series)))
            for color, (name, columns) in enumerate(series.items())
            for place, value in columns.items()
        ),
        x_name=x_name,
    )


def _stack(x: float, parts: Mapping[str, float], frame: Frame, *, names: Sequence[str], of: int) -> list[Box]:
    width = round(max((WIDTH - LEFT - RIGHT) / (of + 1) * 0.8, 1.0), 2)
    boxes, below = [], 0.0
    for name, value in parts.items():
        top, bottom = frame.top(below + value), frame.top(below)
        tip = f"step {x:g}\n{name}: {exact(value)}"
        left = round(frame.left(x) - width / 2, 2)
        box = Box(x=left, y=top, width=width, height=round(bottom - top, 2), color=names.index(name), tip=tip)
        boxes.append(box)
        below += value
    return boxes


def _column(place: int, value: float, frame: Frame, *, name: str, color: int, of: tuple[int, int]) -> Box:
    places, neighbours = of
    width = (WIDTH - LEFT - RIGHT) / places * 0.8 / neighbours
    left = frame.left(place) + (color - neighbours / 2) * width
    top, bottom = frame.top(value), frame.top(0.0)
    tip = f"{place}, {name}: {exact(value)}"
    return Box(x=round(left, 2), y=top, width=round(width, 2), height=round(bottom - top, 2), color=color, tip=tip)


def _columns_told(columns: Mapping[int, float]) -> str:
    return ", ".join(f"{exact(value)} at {place}" for place, value in columns.items())


def _every(places: Sequence[int], *, most: int = 10) -> Sequence[int]:
    """At most so many of them, evenly spaced."""
    return places[:: max(1, math.ceil(len(places) / most))]
