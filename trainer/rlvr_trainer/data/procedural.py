"""Prompts from reasoning-gym's generators: no files, an endless supply, and a known answer.

Entry i of a data set with seed s is drawn from seed s + i, so two data sets of one task overlap when their ranges
[seed, seed + size) do; `overlap` counts that.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from rlvr_trainer.data.examples import QUESTION, Columns, Example, final_answer, json_values, shown
from rlvr_trainer.errors import InvalidInput


class Procedural:
    """One generator with its parameters."""

    def __init__(self, dataset: Any, *, task: str, columns: Columns) -> None:
        self._dataset = dataset
        self._task = task
        self._columns = columns

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> Example:
        where = f"{self._task} item {index}"
        try:
            entry = self._dataset[index]
        except Exception as error:  # over a hundred third-party generators, each with errors of its own
            raise InvalidInput(
                f"{where}: reasoning-gym cannot generate it ({type(error).__name__}: {error}). "
                f"Change {self._columns.at}.procedural.params or seed."
            ) from error
        metadata = json_values(entry["metadata"])
        fields = {**metadata, **entry}
        return Example(
            where=where,
            fields={**fields, QUESTION: _prompt(fields, where=where, columns=self._columns)},
            answer=_answer(fields.get(self._columns.answer), where=where, columns=self._columns),
            metadata=metadata,
        )


def open_procedural(task: str, params: Mapping[str, Any], *, size: int, seed: int, columns: Columns) -> Procedural:
    """The generator `task`; an unknown task or parameter is named together with its neighbours."""
    at = f"{columns.at}.procedural"
    # Importing reasoning-gym takes a second or more and only this source needs it.
    importlib.import_module("reasoning_gym")
    factory = importlib.import_module("reasoning_gym.factory")
    if task not in factory.DATASETS:
        raise InvalidInput(
            f"{at}.task is {task!r}, which reasoning-gym does not have; {_nearest(task, factory.DATASETS)}."
        )
    if size < 1 or seed < 0:
        raise InvalidInput(f"{at}: size is {size} and seed is {seed}; size must be at least 1 and seed at least 0.")
    _check_names(params, factory.DATASETS[task][1], at=at)
    try:
        dataset = factory.create_dataset(task, size=size, seed=seed, **params)
    except (AssertionError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"{at}.params {shown(dict(params))} are refused by {task}: {error}. Correct them."
        ) from error
    return Procedural(dataset, task=task, columns=columns)


def overlap(train: range, held_out: range) -> int:
    """How many entries two data sets of one task share, given their ranges of seeds."""
    return max(0, min(train.stop, held_out.stop) - max(train.start, held_out.start))


def _prompt(fields: Mapping[str, Any], *, where: str, columns: Columns) -> str:
    value = fields.get(columns.prompt)
    if not isinstance(value, str) or not value:
        known = ", ".join(sorted(fields))
        raise InvalidInput(
            f"{where}: field {columns.prompt!r} is {shown(value)}, which is no text; its fields are: {known}. "
            f"Set {columns.at}.promptField to one with text."
        )
    return value


def _answer(value: Any, *, where: str, columns: Columns) -> str | None:
    """The reference answer; tasks with many right answers have none and bring their own scorer."""
    return None if value is None else final_answer(str(value), where=where, columns=columns)


def _check_names(params: Mapping[str, Any], config: Any, *, at: str) -> None:
    known = [field.name for field in dataclasses.fields(config) if field.name not in ("size", "seed")]
    for name in params:
        if name in ("size", "seed"):
            raise InvalidInput(f"{at}.params.{name} is set; write it as {at}.{name} instead.")
        if name not in known:
            raise InvalidInput(f"{at}.params.{name} does not exist; {_nearest(name, known)}.")


def _nearest(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, list(known), n=5, cutoff=0.5)
    return f"close names are: {', '.join(near)}" if near else f"the names are: {', '.join(sorted(known))}"
