"""Validation errors in the words of someone who wrote YAML: path, value, rule, way out.  Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rlvr_api.base import Model, api_name
from rlvr_api.contract import NAME_MEANING, NAME_PATTERN
from rlvr_api.job import RLVRJob
from rlvr_api.quantities import MEANINGS

Path = tuple[str | int, ...]
"""Keys and indices from the manifest's root."""

_LONGEST_VALUE: Final = 60
Translation = Callable[[ErrorDetails, Path], str]
"""What the rule is, and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One problem of a manifest."""

    path: Path
    text: str


def complaints(error: ValidationError, *, under: Path = ()) -> list[Complaint]:
    """What `error` says about a manifest, each problem once; `under` is where in it the validated part begins."""
    problems: list[ErrorDetails] = [
        {**details, "loc": (*under, *details["loc"])} for details in error.errors(include_url=False)
    ]
    found = [complaint for details in problems for complaint in _translated(details)]
    return [complaint for complaint in found if not _is_echo(complaint, found)]


def dotted(path: Path) -> str:
    """spec.reward.verifiers[0].exact."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def parts(text: str) -> Path:
    """The path that `dotted` writes as `text`."""
    return tuple(int(part) if part.isdigit() else part for part in re.findall(r"[^.\[\]]+", text))


def nearest(word: str, words: list[str]) -> str:
    """A suggestion: the word meant, or all there are."""
    close = difflib.get_close_matches(_plain(word), [_plain(candidate) for candidate in words], n=1, cutoff=0.6)
    meant = next((candidate for candidate in words if close and _plain(candidate) == close[0]), None)
    return f"did you mean {meant}?" if meant else f"there is {', '.join(words)}."


def _is_echo(complaint: Complaint, found: list[Complaint]) -> bool:
    """Whether it says that a list is too short only because its items are wrong."""
    below = any(
        len(other.path) > len(complaint.path) and other.path[: len(complaint.path)] == complaint.path for other in found
    )
    return below and "items" in complaint.text


def _translated(details: ErrorDetails) -> Iterator[Complaint]:
    path: Path = details["loc"]
    if details["type"] == "invalid_key":
        *parents, key = path
        place = (*parents, str(key))
        yield Complaint(path=place, text=f"{dotted(place)} has a key that is not text: write it as '{key}'.")
        return
    if details["type"] != "rules":
        yield Complaint(path=path, text=f"{dotted(path)} {_sentence(path, details)}")
        return
    for field, message in details["ctx"]["problems"]:
        place = (*path, *field.split(".")) if field else path
        yield Complaint(path=place, text=f"{dotted(place)}: {message}{_set_members(details)}.")


def _set_members(details: ErrorDetails) -> str:
    """What is set of a one-of."""
    if not details["msg"].startswith("set exactly one"):
        return ""
    given = [str(key) for key in details["input"] if str(key) in details["msg"].replace(",", "").split()]
    return f"; it has {' and '.join(given) or 'none'}"


def _sentence(path: Path, details: ErrorDetails) -> str:
    kind, value = details["type"], details["input"]
    if kind == "missing":
        return f"is missing: {_meaning(path)}"
    if kind == "extra_forbidden":
        return f"is not a field: {nearest(str(path[-1]), _keys(_model_at(path[:-1])))}"
    if value is None:
        return f"has no value: {_meaning(path)} Give it one, or remove the line."
    rule = _RULES.get(kind, _as_pydantic_says)
    return f"is {shown(value)}: {rule(details, path)}"


def _wrong_type(wanted: str, way_out: str = "") -> Translation:
    def rule(details: ErrorDetails, _path: Path) -> str:
        value = details["input"]
        hint = way_out or (f"Write {value} without quotes." if _is_quoted_number(value) else "")
        return f"must be {wanted}. {hint}".rstrip()

    return rule


def _bound(words: str, key: str) -> Translation:
    return lambda details, _path: f"must be {words.format(format(details['ctx'][key], 'g'))}."


def _enumeration(details: ErrorDetails, _path: Path) -> str:
    words = [word.strip("'") for word in details["ctx"]["expected"].replace(" or ", ", ").split(", ")]
    return f"must be one of {', '.join(words)}; {nearest(str(details['input']), words)}"


def _mapping(_details: ErrorDetails, path: Path) -> str:
    model = _model_at(path)
    keys = f" Its keys: {', '.join(_keys(model))}." if model else ""
    return f"must be a mapping (`key: value`).{keys}"


def _pattern(details: ErrorDetails, _path: Path) -> str:
    pattern = details["ctx"]["pattern"]
    meanings = {**MEANINGS, NAME_PATTERN: NAME_MEANING}
    return f"{meanings.get(pattern, f'must match {pattern}')}."


def _as_pydantic_says(details: ErrorDetails, _path: Path) -> str:
    return f"{details['msg']}."


_RULES: Final[Mapping[str, Translation]] = {
    "int_type": _wrong_type("a whole number"),
    "float_type": _wrong_type("a number"),
    "finite_number": _wrong_type("a finite number"),
    "string_type": _wrong_type("text", "Put it in quotes."),
    "bool_type": _wrong_type("true or false"),
    "tuple_type": _wrong_type("a list", "Begin each item with `- `."),
    "dict_type": _mapping,
    "model_type": _mapping,
    "literal_error": _enumeration,
    "greater_than": _bound("above {}", "gt"),
    "greater_than_equal": _bound("at least {}", "ge"),
    "less_than": _bound("below {}", "lt"),
    "less_than_equal": _bound("at most {}", "le"),
    "string_too_short": _bound("at least {} characters long", "min_length"),
    "string_too_long": _bound("at most {} characters long", "max_length"),
    "too_short": _bound("a list of at least {} items", "min_length"),
    "too_long": _bound("a list of at most {} items", "max_length"),
    "string_pattern_mismatch": _pattern,
}


def shown(value: Any) -> str:
    """A value as the user wrote it, cut short."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."


def _is_quoted_number(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _plain(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


def _meaning(path: Path) -> str:
    """What the field is for, from its type."""
    model = _model_at(path[:-1])
    fields = {} if model is None else {api_name(name): field for name, field in model.model_fields.items()}
    field = fields.get(str(path[-1]))
    return " ".join((field.description if field and field.description else "It is required.").split())


def _keys(model: type[Model] | None) -> list[str]:
    return [api_name(name) for name in model.model_fields] if model else []


def _model_at(path: Path) -> type[Model] | None:
    """The type of the mapping at `path`, if it is one of ours."""
    found: Any = RLVRJob
    for part in path:
        model = _model_in(found)
        if isinstance(part, int) or model is None:
            continue
        fields = {api_name(name): field for name, field in model.model_fields.items()}
        if part not in fields:
            return None
        found = fields[part].annotation
    return _model_in(found)


def _model_in(annotation: Any) -> type[Model] | None:
    """The one of our types within `X`, `X | None` or `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
