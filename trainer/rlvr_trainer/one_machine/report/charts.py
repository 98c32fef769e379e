"""Geometry of the report's charts: numbers in, SVG coordinates and labels out.  Pure.

The template draws what is computed here.  A series longer than `MAX_POINTS` is averaged into that many buckets; gaps
stay gaps.  Lines are shown raw and smoothed (exponential mean), because single steps of reinforcement learning are
noisy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 380
HEIGHT: Final = 200
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 10, 26
MAX_POINTS: Final = 120
_SMOOTHING: Final = 0.25
"""Weight of the newest value."""
_NOTHING: Final = 1e-290
"""Numbers this small are zero; their quotients would not be numbers."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A grid line and its label."""

    at: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """One line; `color` is an index into the palette."""

    color: int
    raw: str
    smooth: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A bar, or an invisible area that shows its tip under the pointer."""

    x: float
    y: float
    width: float
    height: float
    color: int
    tip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Everything the template needs for one figure."""

    title: str
    unit: str
    summary: str
    """The figure in one sentence, for people who cannot see it."""
    legend: tuple[str, ...]
    """Names of the colors; empty where there is only one."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    paths: tuple[Path, ...] = ()
    dots: tuple[Box, ...] = ()
    bars: tuple[Box, ...] = ()
    hovers: tuple[Box, ...] = ()
    x_name: str = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The plane of one chart."""

    x: Point
    y: Point

    def left(self, value: float) -> float:
        return round(LEFT + _share(value, self.x) * (WIDTH - LEFT - RIGHT), 2)

    def top(self, value: float) -> float:
        return round(HEIGHT - BOTTOM - _share(value, self.y) * (HEIGHT - TOP - BOTTOM), 2)


def line_chart(
    title: str, *, unit: str, series: Mapping[str, Sequence[Point]], marks: Mapping[str, Sequence[Point]] | None = None
) -> Chart | None:
    """Lines of (step, value), and single marked points; None when there is nothing to draw."""
    is_alone = len(series) + len(marks or {}) == 1
    series = {name: bucketed(points) for name, points in series.items() if points}
    marks = {name: points for name, points in (marks or {}).items() if points}
    everything = [point for points in (*series.values(), *marks.values()) for point in points]
    if not everything:
        return None
    ticks = nice_ticks([y for _, y in everything])
    frame = Frame(x=span_of([x for x, _ in everything]), y=(ticks[0], ticks[-1]))
    return Chart(
        title=title,
        unit=unit,
        summary=" ".join(story(name, points) for name, points in {**series, **marks}.items()),
        legend=() if is_alone else (*series, *marks),
        x_ticks=step_ticks(frame),
        y_ticks=tuple(Tick(at=frame.top(value), label=short(value)) for value in ticks),
        paths=tuple(_path(points, frame, color) for color, points in enumerate(series.values())),
        dots=tuple(
            _dot(name, point, frame, len(series) + color)
            for color, (name, points) in enumerate(marks.items())
            for point in points
        ),
        hovers=_hovers(series, frame),
    )


def bucketed(points: Sequence[Point]) -> tuple[Point, ...]:
    """At most MAX_POINTS points: means of equal runs of neighbours; values that are no finite number are left out."""
    finite = [(x, y) for x, y in points if math.isfinite(y)]
    size = max(1, math.ceil(len(finite) / MAX_POINTS))
    runs = [finite[start : start + size] for start in range(0, len(finite), size)]
    return tuple((run[-1][0], sum(y for _, y in run) / len(run)) for run in runs)


def smoothed(values: Sequence[float]) -> tuple[float, ...]:
    """Exponential mean, started at the first value: s_t = s_{t-1} + 0.25 (v_t - s_{t-1})."""
    found: list[float] = []
    for value in values:
        found.append(found[-1] + _SMOOTHING * (value - found[-1]) if found else value)
    return tuple(found)


def nice_ticks(values: Sequence[float], *, wanted: int = 4) -> tuple[float, ...]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that enclose `values`; a constant gets room around it."""
    low, high = min(values), max(values)
    size = max(abs(low), abs(high))
    if high - low < max(1e-12 * size, _NOTHING):
        room = 0.1 * size if size > _NOTHING else 1.0
        low, high = low - room, high + room
    rough = (high - low) / wanted
    magnitude = math.floor(math.log10(rough))
    power = 10.0**magnitude
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return tuple(round(index * step, 2 - magnitude) for index in range(first, last + 1))


def _path(points: Sequence[Point], frame: Frame, color: int) -> Path:
    smooth = zip((x for x, _ in points), smoothed([y for _, y in points]), strict=True)
    return Path(color=color, raw=_draw(points, frame), smooth=_draw(tuple(smooth), frame))


def _draw(points: Sequence[Point], frame: Frame) -> str:
    return "M" + "L".join(f"{frame.left(x):g} {frame.top(y):g}" for x, y in points)


def _dot(name: str, point: Point, frame: Frame, color: int) -> Box:
    tip = f"{name}, step {point[0]:g}: {exact(point[1])}"
    return Box(x=frame.left(point[0]), y=frame.top(point[1]), width=0, height=0, color=color, tip=tip)


def _hovers(series: Mapping[str, Sequence[Point]], frame: Frame) -> tuple[Box, ...]:
    columns = columns_of(series)
    width = round((WIDTH - LEFT - RIGHT) / max(len(columns), 1), 2)
    return tuple(
        Box(
            x=round(frame.left(x) - width / 2, 2),
            y=TOP,
            width=width,
            height=HEIGHT - TOP - BOTTOM,
            color=0,
            tip=f"step {x:g}\n" + "\n".join(f"{name}: {exact(y)}" for name, y in parts.items()),
        )
        for x, parts in columns.items()
    )


def columns_of(series: Mapping[str, Sequence[Point]]) -> dict[float, dict[str, float]]:
    columns: dict[float, dict[str, float]] = {}
    for name, points in series.items():
        for x, y in points:
            columns.setdefault(x, {})[name] = y
    return dict(sorted(columns.items()))


def step_ticks(frame: Frame) -> tuple[Tick, ...]:
    low, high = frame.x
    whole = [value for value in nice_ticks(frame.x, wanted=5) if value == int(value) and low <= value <= high]
    return tuple(Tick(at=frame.left(value), label=f"{value:g}") for value in whole)


def story(name: str, points: Sequence[Point]) -> str:
    first, last = points[0], points[-1]
    return f"{name}: {exact(first[1])} at step {first[0]:g}, {exact(last[1])} at step {last[0]:g}."


def _share(value: float, span: Point) -> float:
    return (value - span[0]) / (span[1] - span[0])


def span_of(values: Sequence[float]) -> Point:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 1, high + 1)


def padded(span: Point) -> Point:
    return span[0] - 0.5, span[1] + 0.5


def short(value: float) -> str:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"


def exact(value: float) -> str:
    return f"{value:.4g}"
