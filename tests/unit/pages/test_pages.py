"""The pages of docs/reference say what the code declares."""

import pytest

import rlvr_operator.metrics
import rlvr_trainer.metrics
from pages.__main__ import texts
from pages.fields import Field, fields_of, kind_of, rules_of
from pages.metrics import operator_rows, roles, trainer_rows
from pages.tables import cell
from rlvr_api.schema import job_schema


def test_the_pages_are_up_to_date() -> None:
    """`make generate` writes them."""
    for path, text in texts().items():
        assert path.read_text() == text, f"{path.name} is out of date: run `make generate`"


def test_every_metric_is_in_the_reference_once() -> None:
    names = [row[0] for row in operator_rows()] + [row[0] for role in roles() for row in trainer_rows(role)]

    declared = [metric.name for metric in (*rlvr_operator.metrics.TABLE, *rlvr_trainer.metrics.TABLE)]
    assert names == [f"`{name}`" for name in declared]


def test_every_field_of_the_spec_has_a_meaning() -> None:
    spec = job_schema()["properties"]["spec"]

    unexplained = [field.path for field in fields_of(spec, "spec") if not field.meaning]

    assert unexplained == []


def test_a_field_below_a_list_is_told_apart() -> None:
    verifiers = {
        "type": "array",
        "description": "All of them.",
        "items": {"type": "object", "properties": {"weight": {"type": "number", "default": 1.0}}},
    }

    assert list(fields_of(verifiers, "verifiers")) == [
        Field("verifiers", "list of object", "", "All of them."),
        Field("verifiers[].weight", "number", "`1.0`", ""),
    ]


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 8}, "integer >= 1 <= 8"),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, "number > 0"),
        ({"type": "string", "enum": ["vllm", "local"]}, "`vllm` or `local`"),
        ({"x-kubernetes-int-or-string": True}, "integer or string"),
        ({"type": "array", "items": {"type": "string"}}, "list of string"),
    ],
)
def test_the_kind_of_a_field_tells_choices_and_bounds(schema: dict[str, object], kind: str) -> None:
    assert kind_of(schema) == kind


def test_a_rule_is_told_once_however_often_it_stands_in_the_schema() -> None:
    rule = {"x-kubernetes-validations": [{"message": "set exactly one"}]}

    assert list(rules_of({"properties": {"a": rule, "b": {"type": "array", "items": rule}}})) == ["set exactly one"]


def test_a_cell_is_one_line_that_ends_where_it_should() -> None:
    assert cell("one\n  two | three") == "one two \\| three"
