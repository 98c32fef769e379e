"""Whoever is woken by an alert finds a page about it."""

import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from monitoring.__main__ import DASHBOARDS
from monitoring.alerts import ALERTS, Alert
from rlvr_trainer.cli.main import _parser

DOCS: Final = Path(__file__).parents[3] / "docs"
PAGES: Final = DOCS / "runbooks"
QUESTIONS: Final = {panel.question for dashboard in DASHBOARDS for panel in dashboard.panels()}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_has_a_page_that_says_what_it_means_where_to_look_and_what_to_do(alert: Alert) -> None:
    text = (PAGES / f"{alert.name}.md").read_text()

    assert text.startswith(f"# {alert.name}\n\nSeverity {alert.severity}: ")
    sections = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    assert sections[1::2] == ["What it means", "Look", "Act"]
    assert all(len(section.strip()) > 40 for section in sections[2::2])


def test_no_page_is_about_an_alert_that_is_gone() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_the_panels_and_pages_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    assert set(re.findall(r"\*([A-Z][^*]+\?)\*", text)) <= QUESTIONS
    assert set(re.findall(r"RLVR[A-Z]\w+", text)) - {"RLVRJobs", "RLVRJob"} <= {alert.name for alert in ALERTS}


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_the_commands_of_a_page_are_ones_that_rlvr_understands(page: Path) -> None:
    for line in re.findall(r"(?:^\$ |`)rlvr ([^`|\n]+)", page.read_text(), re.MULTILINE):
        options = _parser().parse_args(shlex.split(line.replace("--index N", "--index 1")))
        assert options.job == "JOB"


def test_the_guide_lists_every_alert_with_its_severity_and_page() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(\.\./runbooks/(\w+)\.md\) \| (\w+) \|", _guide(), re.MULTILINE)
    assert sorted(rows) == sorted((alert.name, alert.name, alert.severity) for alert in ALERTS)


def _guide() -> str:
    return (DOCS / "guides" / "monitoring.md").read_text()
