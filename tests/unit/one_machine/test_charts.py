import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_trainer.one_machine.report.bars import column_chart, stacked_chart
from rlvr_trainer.one_machine.report.charts import (
    HEIGHT,
    MAX_POINTS,
    WIDTH,
    bucketed,
    line_chart,
    nice_ticks,
    smoothed,
)

FINITE = st.floats(-1e9, 1e9, allow_nan=False)
TINY = st.floats(-1e-12, 1e-12, allow_nan=False)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((0.0, 1.0), (0.0, 0.5, 1.0)),
        ((0.21, 0.98), (0.2, 0.4, 0.6, 0.8, 1.0)),
        ((-3.0, 41.0), (-20.0, 0.0, 20.0, 40.0, 60.0)),
        ((1e-16, 5e-16), (1e-16, 2e-16, 3e-16, 4e-16, 5e-16)),
        ((5.0, 5.0), (4.5, 5.0, 5.5)),
        ((0.0, 0.0), (-1.0, -0.5, 0.0, 0.5, 1.0)),
    ],
)
def test_ticks_are_round_numbers(values: tuple[float, ...], ticks: tuple[float, ...]) -> None:
    assert nice_ticks(values) == pytest.approx(ticks, rel=1e-6, abs=1e-20)


@settings(deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=20))
def test_ticks_enclose_every_value_and_are_few(values: list[float]) -> None:
    ticks = nice_ticks(values)

    room = 1e-6 * max(1.0, *map(abs, values))
    assert ticks[0] <= min(values) + room
    assert max(values) - room <= ticks[-1]
    assert 2 <= len(ticks) <= 9


@settings(deadline=None)
@given(st.lists(TINY, min_size=1, max_size=20))
def test_rounding_noise_has_ticks_too(values: list[float]) -> None:
    """Curves of what should be zero."""
    ticks = nice_ticks(values)

    assert list(ticks) == sorted(set(ticks))
    assert ticks[0] <= min(values) + 1e-3 * max(map(abs, values))
    assert max(values) - 1e-3 * max(map(abs, values)) <= ticks[-1]
    assert 2 <= len(ticks) <= 9


def test_smoothing_moves_a_quarter_of_the_way() -> None:
    assert smoothed((0.0, 1.0, 1.0)) == (0.0, 0.25, 0.4375)


@settings(deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=50))
def test_a_smoothed_line_stays_within_the_values(values: list[float]) -> None:
    assert all(min(values) - 1e-3 <= value <= max(values) + 1e-3 for value in smoothed(values))


@settings(deadline=None)
@given(st.integers(1, 2000))
def test_a_long_series_is_averaged_and_keeps_its_mean_and_its_end(length: int) -> None:
    points = [(float(step), float(step % 7)) for step in range(length)]
    size = math.ceil(length / MAX_POINTS)

    short = bucketed(points)

    assert len(short) <= MAX_POINTS
    assert short[-1][0] == points[-1][0]
    if length % size == 0:
        mean = sum(y for _, y in points) / length
        assert sum(y for _, y in short) / len(short) == pytest.approx(mean)


def test_a_value_that_is_no_number_is_a_gap() -> None:
    assert bucketed([(1.0, math.nan), (2.0, 3.0)]) == ((2.0, 3.0),)


def test_a_line_goes_from_corner_to_corner_of_its_plane() -> None:
    chart = line_chart("Reward", unit="mean", series={"reward": [(1.0, 0.0), (3.0, 1.0)]})

    assert chart is not None
    assert chart.paths[0].raw == "M46 174L368 10"
    assert chart.summary == "reward: 0 at step 1, 1 at step 3."
    assert [tick.label for tick in chart.x_ticks] == ["1", "2", "3"]
    assert chart.legend == ()


def test_marks_are_dots_in_a_color_of_their_own() -> None:
    chart = line_chart("Accuracy", unit="", series={"training": [(1.0, 0.5)]}, marks={"held-out": [(0.0, 0.25)]})

    assert chart is not None
    assert chart.legend == ("training", "held-out")
    assert [(dot.color, dot.tip) for dot in chart.dots] == [(1, "held-out, step 0: 0.25")]


def test_nothing_to_draw_is_no_chart() -> None:
    assert line_chart("Reward", unit="", series={"reward": []}) is None
    assert stacked_chart("Time", unit="", series={}) is None


def test_stacked_bars_stand_on_each_other() -> None:
    chart = stacked_chart("Time", unit="s", series={"a": [(1.0, 1.0), (2.0, 2.0)], "b": [(1.0, 3.0), (2.0, 2.0)]})

    assert chart is not None
    lower, upper = chart.bars[:2]
    assert upper.y + upper.height == pytest.approx(lower.y)
    assert upper.height == pytest.approx(3 * lower.height, abs=0.02)
    assert all(bar.x >= 0 and bar.x + bar.width <= WIDTH and bar.y + bar.height <= HEIGHT for bar in chart.bars)


def test_columns_of_two_series_stand_side_by_side_over_their_number() -> None:
    chart = column_chart("Right", unit="share", x_name="right", series={"first": {0: 0.5, 1: 0.5}, "last": {1: 1.0}})

    assert chart is not None
    first_0, first_1, last_1 = chart.bars
    assert first_0.height == first_1.height == last_1.height / 2
    assert first_1.x + first_1.width == pytest.approx(last_1.x, abs=0.02)
    assert chart.x_ticks[1].at == pytest.approx(last_1.x, abs=0.02)
    assert [bar.tip for bar in chart.bars] == ["0, first: 0.5", "1, first: 0.5", "1, last: 1"]
    assert (chart.x_name, [tick.label for tick in chart.x_ticks]) == ("right", ["0", "1"])
    assert chart.summary == "first: 0.5 at 0, 0.5 at 1. last: 1 at 1."


def test_columns_without_numbers_are_no_chart() -> None:
    assert column_chart("Right", unit="share", x_name="right", series={"first": {}, "last": {}}) is None
