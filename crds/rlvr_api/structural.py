"""From pydantic's JSON schema to the structural schema that a CustomResourceDefinition takes.

Covers what our types use; a construct it does not know raises.  Unions do not occur: the API has one optional member
per variant instead.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

Schema = dict[str, Any]

KEPT: Final = frozenset(
    {
        "type",
        "format",
        "enum",
        "pattern",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "required",
        "default",
        "x-kubernetes-validations",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
    }
)
DROPPED: Final = frozenset(
    {"title", "description", "properties", "items", "prefixItems", "additionalProperties", "const"}
)


def structural(model: type[BaseModel]) -> Schema:
    """The schema of `model`, without references."""
    _, whole = models_json_schema([(model, "validation")], by_alias=True)
    definitions: dict[str, Schema] = whole["$defs"]
    return _convert(definitions[model.__name__], definitions)


def without_defaults(schema: Schema, *, spoken: bool) -> Schema:
    """The same with no defaults filled in by the API server; `spoken` puts them into the descriptions instead."""
    bare = {key: value for key, value in schema.items() if key != "default"}
    if spoken and "default" in schema:
        bare["description"] = f"{schema['description']} Default: {_word(schema['default'])}."
    if "properties" in schema:
        members = schema["properties"].items()
        bare["properties"] = {name: without_defaults(member, spoken=spoken) for name, member in members}
    if "items" in schema:
        bare["items"] = without_defaults(schema["items"], spoken=spoken)
    return bare


def _convert(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    schema = _merged(schema, definitions)
    unknown = schema.keys() - KEPT - DROPPED
    if unknown:
        raise NotImplementedError(f"{sorted(unknown)} in {schema}: teach structural.py or change the type")
    converted = {"description": " ".join(schema["description"].split())} if "description" in schema else {}
    converted |= {key: schema[key] for key in schema if key in KEPT}
    return _tidied(converted | _nested(schema, definitions))


def _merged(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """`schema` with references and `X or null` replaced by what they stand for; its own keys win."""
    own = {key: value for key, value in schema.items() if key not in {"$ref", "anyOf"}}
    if "$ref" in schema:
        return {**_merged(definitions[schema["$ref"].rpartition("/")[2]], definitions), **own}
    if "anyOf" in schema:
        (only,) = (member for member in schema["anyOf"] if member != {"type": "null"})
        return {**_merged(only, definitions), **own}
    return own


def _nested(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    nested: Schema = {}
    if "properties" in schema:
        nested["properties"] = {name: _convert(member, definitions) for name, member in schema["properties"].items()}
    if "prefixItems" in schema:
        nested["items"] = _convert(schema["prefixItems"][0], definitions)
    elif "items" in schema:
        nested["items"] = _convert(schema["items"], definitions)
    values = schema.get("additionalProperties")
    if isinstance(values, dict):
        nested["additionalProperties"] = _convert(values, definitions)
    return nested


def _tidied(schema: Schema) -> Schema:
    """Bounds as OpenAPI 3.0 writes them, and no default where absence says it."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in schema:
            schema[bound], schema[exclusive] = schema[exclusive], True
    if "default" in schema and schema["default"] is None:
        del schema["default"]
    elif "default" in schema:
        schema["default"] = _present(schema["default"])
    return schema


def _present(value: Any) -> Any:
    """`value` without absent members; complete, for the API server checks a default by the rules as it stands."""
    if not isinstance(value, dict):
        return value
    return {name: _present(item) for name, item in value.items() if item is not None}


def _word(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
