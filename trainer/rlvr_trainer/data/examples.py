"""One row of any source, as templates and verifiers see it.

A row must name its question and its answer as text; nothing is converted silently, because `1.0` and `1` are different
answers to an exact verifier.  Every complaint says where the row is and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec

from rlvr_trainer.errors import InvalidInput

QUESTION: Final = "question"
_SHOWN_CHARACTERS: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question with its reference answer, before any template."""

    where: str
    """For error messages: `train.jsonl line 3`."""
    fields: Mapping[str, Any]
    """What a template may name; `question` is always the prompt field."""
    answer: str | None
    metadata: dict[str, Any]
    """The row's other fields, JSON values only, for verifiers that need more than an answer."""


class Examples(Protocol):
    """A finite, random-access set of examples; the same index gives the same example for ever."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which fields of a row are the question and the answer, and where in the manifest that is said."""

    prompt: str
    answer: str
    answer_after: str | None
    """The answer is what follows the last occurrence of this text."""
    at: str
    """Path of the source in the manifest, such as `spec.data.train`."""


def example_of(row: Mapping[str, Any], *, where: str, columns: Columns) -> Example:
    """The example in `row`, or InvalidInput naming the field, its value and the way out."""
    question = _text(row, columns.prompt, where=where, setting=f"{columns.at}.promptField")
    answer = _text(row, columns.answer, where=where, setting=f"{columns.at}.answerField")
    return Example(
        where=where,
        fields={**row, QUESTION: question},
        answer=final_answer(answer, where=where, columns=columns),
        metadata=json_values({name: row[name] for name in row if name not in (columns.prompt, columns.answer)}),
    )


def final_answer(answer: str, *, where: str, columns: Columns) -> str:
    """What follows the last marker (`####` for GSM8K), white space removed; all of it when no marker is asked for."""
    if columns.answer_after is None:
        return answer
    _, marker, final = answer.rpartition(columns.answer_after)
    if not marker or not final.strip():
        raise InvalidInput(
            f"{where}: field {columns.answer!r} is {shown(answer)}, with nothing after {columns.answer_after!r}. "
            f"Complete the row, or correct {columns.at}.answerAfter."
        )
    return final.strip()


def json_values(value: Mapping[str, Any]) -> dict[str, Any]:
    """`value` with everything JSON cannot say turned into text."""
    converted: dict[str, Any] = msgspec.to_builtins(value, str_keys=True, enc_hook=str)
    return converted


def shown(value: object) -> str:
    """A value, shortened for a message."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."


def _text(row: Mapping[str, Any], name: str, *, where: str, setting: str) -> str:
    if name not in row:
        known = ", ".join(sorted(row)) or "none"
        raise InvalidInput(
            f"{where}: there is no field {name!r}; its fields are: {known}. Set {setting} to one of them."
        )
    value = row[name]
    if value is None or value == "":
        raise InvalidInput(
            f"{where}: field {name!r} is {value!r}; it must be text that is not empty. Fill or remove it."
        )
    if not isinstance(value, str):
        kind = type(value).__name__
        raise InvalidInput(
            f"{where}: field {name!r} is {shown(value)} ({kind}); it must be text. Store it as a string."
        )
    return value
