"""From an example to the text a policy reads: a plain template, or the model's own chat template.

A plain template is text with `{field}` placeholders and nothing else: no attributes, indices, conversions or formats,
so a data file cannot reach into Python.  The tokenizer adds its own special tokens to plain text (often one that begins
the text); to a chat it adds none, because the chat template already says all of them.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from rlvr_trainer.data.examples import Example, shown
from rlvr_trainer.errors import InvalidInput

_BEYOND_A_NAME: Final = frozenset(".[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """How an example becomes a prompt's text."""

    render: Callable[[Example], str]
    adds_special_tokens: bool
    """Whether the tokenizer still has to add the special tokens that begin a text."""


def plain_template(text: str, *, at: str) -> Template:
    """`{question} =` and the like; doubled braces are literal."""
    return Template(render=fill_in(text, at=at), adds_special_tokens=True)


def fill_in(text: str, *, at: str) -> Callable[[Example], str]:
    """A function that puts an example's fields into `text`, which `at` of the manifest holds."""
    pieces = _parse(text, at=at)
    if not any(field for _, field in pieces):
        raise InvalidInput(f"{at} is {shown(text)}, which shows no field. Put {{question}} where the question belongs.")

    def render(example: Example) -> str:
        return "".join(literal + (_field(example, field, at=at) if field else "") for literal, field in pieces)

    return render


def _parse(text: str, *, at: str) -> list[tuple[str, str | None]]:
    try:
        parsed = list(string.Formatter().parse(text))
    except ValueError as error:
        raise InvalidInput(f"{at} is {shown(text)}: {error}. Double a brace that is meant literally.") from error
    for _, field, layout, conversion in parsed:
        if field is not None and (not field or layout or conversion or _BEYOND_A_NAME & set(field)):
            raise InvalidInput(
                f"{at} has the placeholder {{{field}}}; only the bare name of a field may stand in braces. "
                "Double a brace that is meant literally."
            )
    return [(literal, field) for literal, field, _, _ in parsed]


def _field(example: Example, name: str, *, at: str) -> str:
    if name not in example.fields:
        known = ", ".join(sorted(example.fields))
        raise InvalidInput(
            f"{at} names the field {name!r}, which {example.where} does not have; its fields are: {known}."
        )
    value: Any = example.fields[name]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidInput(
            f"{example.where}: field {name!r} is {shown(value)}, but {at} can show text and numbers only."
        )
    return str(value)
