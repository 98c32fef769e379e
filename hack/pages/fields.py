"""Every field of an RLVRJob, from the schema that the API server has.

A part of the spec is a section: its fields, then its rules in the words with which the API server refuses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from pages.tables import page, table
from rlvr_api.schema import job_schema

Schema = Mapping[str, Any]
_UNBOUNDED: Final = 2**31 - 1
"""From here on a maximum is what numbers can hold, and no rule."""


class Field(NamedTuple):
    """A row: where, what kind, what when nothing is said, and what it is for."""

    path: str
    kind: str
    default: str
    meaning: str


def fields_page() -> str:
    """docs/reference/rlvrjob.md."""
    return page("RLVRJob", _lines(job_schema()))


def fields_of(schema: Schema, path: str) -> Iterator[Field]:
    """The field at `path` and all below it, parents first."""
    yield Field(path, kind_of(schema), default_of(schema), str(schema.get("description", "")))
    inner, below = schema, path
    while inner.get("type") == "array":
        inner, below = inner["items"], f"{below}[]"
    for name, child in inner.get("properties", {}).items():
        yield from fields_of(child, f"{below}.{name}")


def rules_of(schema: Schema) -> Iterator[str]:
    """The messages of all rules in and below `schema`, each once."""
    found = dict.fromkeys(_messages(schema))
    yield from found


def kind_of(schema: Schema) -> str:
    """Type, choices and bounds."""
    if "enum" in schema:
        return " or ".join(f"`{choice}`" for choice in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind_of(schema['items'])}"
    if schema.get("x-kubernetes-int-or-string"):
        return "integer or string"
    return " ".join([str(schema.get("type", "any")), *_bounds(schema)])


def default_of(schema: Schema) -> str:
    """As one writes it; empty without one."""
    return f"`{json.dumps(schema['default'])}`" if "default" in schema else ""


def _bounds(schema: Schema) -> Iterator[str]:
    if "minimum" in schema:
        yield f"{'>' if schema.get('exclusiveMinimum') else '>='} {schema['minimum']}"
    if schema.get("maximum", _UNBOUNDED) < _UNBOUNDED:
        yield f"{'<' if schema.get('exclusiveMaximum') else '<='} {schema['maximum']}"


def _messages(schema: Schema) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        yield str(rule["message"])
    for child in (*schema.get("properties", {}).values(), schema.get("items")):
        if isinstance(child, Mapping):
            yield from _messages(child)


def _lines(schema: Schema) -> Iterator[str]:
    yield "`[]` is an item of a list.  A preset has defaults of its own: `rlvr explain job.yaml` shows them with their"
    yield "sources.  The rules under a table are told in the same words when a manifest breaks them."
    yield ""
    parts = {"spec": schema["properties"]["spec"], "status": schema["properties"]["status"]}
    for top, part in parts.items():
        for name, child in part["properties"].items():
            yield from _section(child, f"{top}.{name}")
    yield "## Rules of the whole"
    yield ""
    whole = [*schema["x-kubernetes-validations"], *parts["spec"].get("x-kubernetes-validations", ())]
    yield from (f"- {rule['message']}" for rule in whole)


def _otherwise(field: Field) -> str:
    return f", default {field.default}" if field.default else ""


def _section(schema: Schema, path: str) -> Iterator[str]:
    first, *rest = fields_of(schema, path)
    yield f"## {path}"
    yield ""
    yield first.meaning if rest else f"{first.meaning}  Type: {first.kind}{_otherwise(first)}."
    yield ""
    if rest:
        shown = ((f"`{row.path.removeprefix(f'{path}.')}`", row.kind, row.default, row.meaning) for row in rest)
        yield from table(("Field", "Type", "Default", "Meaning"), shown)
    rules = [f"- {message}" for message in rules_of(schema)]
    yield from [*rules, ""] if rules else []
