"""The chart's dashboards as pictures, drawn from their JSON and a recording of real jobs.

    python tests/e2e/dashboards.py --folder docs/guides/figures/dashboards

One PNG for each dashboard, its panels where Grafana would have them.  Colors and fonts are not Grafana's.
"""

import argparse
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from e2e.monitored import dashboards, recording
from prometheus import Line

Find = Callable[[str], Sequence[Line]]
"""The series of an expression."""
Named = tuple[str, Line]
STYLE: Final = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "lines.linewidth": 1.1,
}
COLORS: Final = (*plt.get_cmap("tab10").colors, *plt.get_cmap("Dark2").colors)
WIDTH: Final = 13.0
HEIGHT: Final = 0.32
"""Inches of a row of Grafana's grid."""
COLUMNS: Final = 24
ABOVE, BELOW, BEFORE, BEHIND = 1.2, 3.0, 0.6, 0.12
"""What a panel needs beside its curves: rows of the grid for its title and its legend, inches for its scale."""
LETTERS: Final = 20
"""Letters of a legend that fit into an inch."""
GAP: Final = 5.0
"""Seconds without a value after which something has ended rather than been missed; layers only."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("docs/guides/figures/dashboards"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="dashboards-") as scratch, recording(Path(scratch)) as past:
        for name, dashboard in dashboards().items():
            figure = draw(dashboard, past.lines, start=past.start, end=past.end)
            figure.savefig(folder / f"{name}.png", dpi=90, metadata={"Software": None})
            plt.close(figure)
            print(folder / f"{name}.png")


def draw(dashboard: dict[str, Any], find: Find, *, start: float, end: float) -> Figure:
    """All panels of a dashboard."""
    plt.rcParams.update(STYLE)
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    figure = plt.figure(figsize=(WIDTH, rows * HEIGHT))
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        left, top = place["x"] / COLUMNS, 1 - place["y"] / rows
        if panel["type"] == "row":
            figure.text(0.008, top - 0.65 / rows, panel["title"], fontsize=10, color="#444444")
            continue
        width = place["w"] / COLUMNS - (BEFORE + BEHIND) / WIDTH
        bottom, height = top - (place["h"] - BELOW) / rows, (place["h"] - ABOVE - BELOW) / rows
        axes = figure.add_axes((left + BEFORE / WIDTH, bottom, width, height))
        draw_panel(axes, panel, find, start=start, end=end)
    return figure


def draw_panel(axes: Axes, panel: dict[str, Any], find: Find, *, start: float, end: float) -> None:
    named = [it for target in panel["targets"] for it in series_of(target, find)]
    defaults = panel["fieldConfig"]["defaults"]
    if "stacking" in defaults["custom"]:
        draw_layers(axes, named, start=start, end=end)
    else:
        draw_lines(axes, named, start=start)
    axes.set_title(panel["title"])
    axes.set_xlim(0, end - start)
    soften(axes)
    axes.xaxis.set_major_locator(MultipleLocator(30))
    axes.xaxis.set_major_formatter(lambda at, _: f"{int(at) // 60}:{int(at) % 60:02}")
    axes.yaxis.set_major_formatter(lambda value, _: in_unit(value, defaults["unit"]))
    if defaults["unit"] == "bytes":
        axes.yaxis.set_major_locator(MultipleLocator(2 ** math.floor(math.log2(axes.get_ylim()[1] / 2))))
    add_legend(axes)


def series_of(target: dict[str, Any], find: Find) -> Iterator[Named]:
    """Each series of a query under the name that its legend gives it, in order of names."""
    lines = [(name_of(target["legendFormat"], line), line) for line in find(target["expr"])]
    yield from sorted(lines, key=lambda it: it[0])


def name_of(legend: str, line: Line) -> str:
    for label, value in line.labels.items():
        legend = legend.replace(f"{{{{{label}}}}}", value)
    return legend


def draw_lines(axes: Axes, named: Sequence[Named], *, start: float) -> None:
    for (name, line), color in zip(named, cycle(COLORS), strict=False):
        points = [(at - start, value) for at, value in line.points if math.isfinite(value)]
        marker = "o" if len(points) < 8 else ""
        axes.plot(*zip(*points, strict=True) if points else ((), ()), marker=marker, ms=2, label=name, color=color)


def draw_layers(axes: Axes, named: Sequence[Named], *, start: float, end: float) -> None:
    times = [float(second) for second in range(int(end - start) + 1)]
    heights = [at_times(line, [start + time for time in times]) for _, line in named]
    axes.stackplot(times, heights, labels=[name for name, _ in named], colors=COLORS, alpha=0.7)


def at_times(line: Line, times: Sequence[float]) -> list[float]:
    """The newest value at each of `times`; 0 where there has been none for a while."""
    found, points, index = [], [it for it in line.points if math.isfinite(it[1])], -1
    for time in times:
        while index + 1 < len(points) and points[index + 1][0] <= time:
            index += 1
        is_fresh = index >= 0 and time - points[index][0] <= GAP
        found.append(points[index][1] if is_fresh else 0.0)
    return found


def soften(axes: Axes) -> None:
    """Zero is in sight, and a flat line is not on the edge."""
    low, high = min(axes.dataLim.y0, 0.0), max(axes.dataLim.y1, 0.0)
    if not low < high < math.inf:
        low, high = 0.0, 1.0
    margin = 0.05 * (high - low)
    axes.set_ylim(low - margin, high + margin)


def in_unit(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "s":
        return f"{value:.3g} s"
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB"
    return f"{value:,.4g}" if unit == "none" or value == 0 else f"{value:.1e}"


def add_legend(axes: Axes) -> None:
    """Below the scale, in as many columns as there is room for."""
    handles, names = axes.get_legend_handles_labels()
    inches = axes.get_position().width * WIDTH
    columns = int(inches * LETTERS / (max(map(len, names), default=0) + 5))
    axes.legend(
        handles,
        names,
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.15),
        ncol=max(columns, 1),
        handlelength=1.2,
        columnspacing=1.0,
        labelspacing=0.2,
        borderaxespad=0.0,
    )


if __name__ == "__main__":
    main()
