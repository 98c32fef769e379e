"""Run test files in this very process: what pytest does, without the start-up that would cost most of a mutant's time.

Knows plain functions, `parametrize` and hypothesis, which is what the tests of the algorithms are made of; a test that
asks for a fixture is left out.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any

LEFT_OUT = ("test_any_other_number_is_a_mismatch",)
"""Slow, and about the comparison with golden numbers, not about the functions compared."""


def passes(file: Path) -> bool:
    """Whether every test of the file passes; stops at the first that does not."""
    try:
        for test, arguments in _calls(_load(file)):
            test(**arguments)
    except BaseException:  # noqa: BLE001  whatever goes wrong, even at import, is a failure
        return False
    return True


def _load(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None, f"{file} is not a Python file"
    assert spec.loader is not None, f"{file} is not a Python file"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _calls(module: ModuleType) -> Iterator[tuple[Callable[..., None], dict[str, Any]]]:
    for name, test in vars(module).items():
        if name.startswith("test_") and name not in LEFT_OUT:
            wanted = set(inspect.signature(test).parameters)
            for arguments in _arguments(test):
                if wanted == set(arguments):
                    yield test, arguments


def _arguments(test: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """Every combination of what `parametrize` lists."""
    marks = [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    for rows in product(*([*mark.args[1]] for mark in marks)):
        chosen: dict[str, Any] = {}
        for mark, row in zip(marks, rows, strict=True):
            names = mark.args[0]
            names = names.split(",") if isinstance(names, str) else list(names)
            chosen |= dict(zip(names, row if len(names) > 1 else [row], strict=True))
        yield chosen
