"""The whole of one job, as a file to read."""

import yaml

from golden.workloads.render import GOLDEN, rendered


def test_the_arithmetic_example_becomes_what_the_golden_file_says() -> None:
    now, then = (list(yaml.safe_load_all(text)) for text in (rendered(), GOLDEN.read_text()))

    assert now == then, "meant?  PYTHONPATH=tests .venv/bin/python -m golden.workloads.render"
