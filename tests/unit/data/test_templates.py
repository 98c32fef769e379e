"""What a template may do, and nothing more."""

from typing import Any

import pytest

from rlvr_trainer.data.examples import Example
from rlvr_trainer.data.templates import plain_template
from rlvr_trainer.errors import InvalidInput


def an_example(**fields: Any) -> Example:
    return Example(where="row 1", fields={"question": "1 + 1", **fields}, answer="2", metadata={})


def rendered(text: str, **fields: Any) -> str:
    return plain_template(text, at="text").render(an_example(**fields))


def test_fields_are_filled_in_and_double_braces_are_literal() -> None:
    assert rendered("Q: {question} = {{x}} ({level})", level=3) == "Q: 1 + 1 = {x} (3)"


def test_fields_are_not_rendered_twice() -> None:
    assert rendered("{question}", question="{level}") == "{level}"


@pytest.mark.parametrize(
    "text", ["{question.__class__}", "{question[0]}", "{question!r}", "{question:>9}", "{}", "{0.x}"]
)
def test_only_bare_names_stand_in_braces(text: str) -> None:
    with pytest.raises(InvalidInput, match="only the bare name of a field may stand in braces"):
        plain_template(text, at="text")


def test_an_open_brace_is_explained() -> None:
    with pytest.raises(InvalidInput, match="Double a brace that is meant literally"):
        plain_template("{question", at="text")


def test_a_template_without_a_field_is_refused() -> None:
    with pytest.raises(InvalidInput, match="shows no field"):
        plain_template("hello", at="text")


def test_a_list_cannot_be_shown() -> None:
    with pytest.raises(
        InvalidInput, match=r"row 1: field 'choices' is \['a'\], but text can show text and numbers only"
    ):
        rendered("{question} {choices}", choices=["a"])
