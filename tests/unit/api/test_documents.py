"""The pages about algorithms say what the presets say, and what they point to exists."""

import json
import re
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from rlvr_api.algorithm import AlgorithmSpec
from rlvr_api.presets import PRESETS
from rlvr_api.recipe import resolve

DOCS = Path(__file__).parents[3] / "docs"
PAGES = sorted((DOCS / "concepts" / "algorithms").glob("*.md"))
ROW = re.compile(r"^\| `([a-zA-Z0-9.]+)` \| (\S+) \|", re.MULTILINE)
TABLE = re.compile(r"^\| Default(?: \(`(\w+)`\))? \| Value \| Source \|\n\|[- |]+\|\n((?:\|.*\n)+)", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def value_of(preset: str, path: str) -> str:
    """As a manifest would write it."""
    resolved: dict[str, Any] = resolve(AlgorithmSpec.model_validate({"preset": preset})).model_dump(
        mode="json", by_alias=True
    )
    return json.dumps(reduce(lambda branch, key: branch[key], path.split("."), resolved)).strip('"')


def defaults_on(page: Path) -> list[tuple[str, str, str]]:
    """Preset, path and value of every row of a page's tables of defaults."""
    text = page.read_text()
    of_page = re.search(r"^Presets?: `(\w+)`", text, re.MULTILINE)
    return [
        (named or (of_page[1] if of_page else "grpo"), path, value)
        for named, rows in TABLE.findall(text)
        for path, value in ROW.findall(rows)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_s_defaults_are_those_of_its_preset(page: Path) -> None:
    rows = defaults_on(page)

    assert [(path, value_of(preset, path)) for preset, path, _ in rows] == [(path, value) for _, path, value in rows]


def test_every_preset_has_a_page_with_defaults() -> None:
    named = {preset for page in PAGES for preset in re.findall(r"`(\w+)`", page.read_text().splitlines()[2])}

    assert PRESETS.keys() <= named
    assert sum(len(defaults_on(page)) for page in PAGES) > 60


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_what_a_page_points_to_exists(page: Path) -> None:
    missing = [
        target
        for target in LINK.findall(page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_an_example_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"examples/[a-z0-9-]+\.yaml", page.read_text())

    assert [name for name in named if not (DOCS.parent / name).exists()] == []


def test_every_figure_is_on_a_page() -> None:
    text = "".join(page.read_text() for page in DOCS.rglob("*.md"))

    assert [path.name for path in (DOCS / "concepts" / "figures").iterdir() if path.name not in text] == []
