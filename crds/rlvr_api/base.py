"""What every type of the API shares: camelCase in YAML, snake_case in Python, frozen, unknown keys refused.

A `Rule` states one cross-field fact twice, for the API server (CEL) and for Python, side by side, so that the two stay
together.  Rules of an object run after its fields are valid.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError


def api_name(field: str) -> str:
    """The key in a manifest of a Python field."""
    return to_camel(field).replace("laserDe", "laserDE")


_VALUE: Final = re.compile(r" \{([A-Za-z.]+)\}")


class Problem(NamedTuple):
    """What is wrong with one object."""

    field: str
    """The key that a user would edit, relative to the object; empty for the object itself."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A condition on one object, in both languages."""

    cel: str
    message: str
    """For people; ` {a.b}` is the value of that field below the object, left out where values cannot be shown."""
    holds: Callable[[Any], bool] = lambda _: True
    """The same in Python; always true for rules about a change (`oldSelf`), which only the API server sees."""
    field: str = ""
    """The key that a user would edit, relative to the object."""

    def for_kubernetes(self) -> dict[str, str]:
        """The rule as an item of x-kubernetes-validations.

        Without values: the API server refuses a messageExpression that prints a number, for its length has no bound.
        """
        place = {"fieldPath": f".{self.field}"} if self.field else {}
        return {"rule": self.cel, "message": _VALUE.sub("", self.message), **place}

    def message_about(self, model: Model) -> str:
        """The message with the values of `model`."""
        return _VALUE.sub(lambda found: f" {_value_at(model, found[1])}", self.message)


class Model(BaseModel):
    """Base of every type in a manifest."""

    model_config = ConfigDict(
        alias_generator=api_name,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
    RULES: ClassVar[tuple[Rule, ...]] = ()

    def problems(self) -> Iterator[Problem]:
        """What the rules of this object object to."""
        yield from (Problem(rule.field, rule.message_about(self)) for rule in self.RULES if not rule.holds(self))

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        if cls.RULES:
            handler.resolve_ref_schema(schema)["x-kubernetes-validations"] = [
                rule.for_kubernetes() for rule in cls.RULES
            ]
        return schema

    @model_validator(mode="after")
    def _obey_rules(self) -> Self:
        found = list(self.problems())
        if found:
            summary = "; ".join(problem.message for problem in found)
            raise PydanticCustomError("rules", "{summary}", {"summary": summary, "problems": found})
        return self


def exactly_one_of(*members: str) -> Rule:
    """The rule that one and only one of the optional members is set."""
    names = [api_name(member) for member in members]
    return Rule(
        cel=f"[{', '.join(f'has(self.{name})' for name in names)}].exists_one(is_set, is_set)",
        message=f"set exactly one of {', '.join(names)}",
        holds=lambda model: sum(getattr(model, member) is not None for member in members) == 1,
    )


def _value_at(model: Model, path: str) -> Any:
    """The value at a path of manifest keys."""
    value: Any = model
    for key in path.split("."):
        value = next(member for name, member in value if api_name(name) == key)
    return value
