"""Pictures of dashboards hold what the JSON holds."""

from typing import Any

import matplotlib.pyplot as plt
import pytest

from e2e.dashboards import at_times, draw, in_unit, name_of
from e2e.monitored import dashboards, panels_of
from prometheus import Line

LABELS = {"rlvr_job": "sums", "phase": "wait", "instance": "rollout-0"}
RISING = Line(LABELS, [(100.0 + second, float(second)) for second in range(30)])


@pytest.mark.parametrize("dashboard", dashboards().values(), ids=dashboards())
def test_a_picture_has_every_panel_with_its_question_and_its_series(dashboard: dict[str, Any]) -> None:
    figure = draw(dashboard, lambda _: [RISING], start=100.0, end=160.0)

    assert [axes.get_title(loc="left") for axes in figure.axes] == [panel["title"] for panel in panels_of(dashboard)]
    for axes, panel in zip(figure.axes, panels_of(dashboard), strict=True):
        assert len(axes.get_legend_handles_labels()[1]) == len(panel["targets"])
        assert axes.get_xlim() == (0, 60)
    plt.close(figure)


def test_layers_end_when_their_series_does() -> None:
    assert at_times(RISING, [90.0, 100.0, 129.0, 133.0, 140.0]) == [0.0, 0.0, 29.0, 29.0, 0.0]


def test_a_series_is_named_by_its_labels() -> None:
    assert name_of("{{rlvr_job}} {{phase}} p95", RISING) == "sums wait p95"


def test_values_are_written_in_their_units() -> None:
    written = [in_unit(0.25, "percentunit"), in_unit(2.5, "s"), in_unit(2**21, "bytes"), in_unit(1e-4, "sci")]
    assert written == ["25 %", "2.5 s", "2 MiB", "1.0e-04"]
