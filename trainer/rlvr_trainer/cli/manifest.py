"""From a YAML file to an RLVRJob, or one error with every problem and the line of each.

Only the manifest itself is looked at; whether its files, models and stores exist is checked by those who open them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from rlvr_api import RLVRJob
from rlvr_api.complaints import Complaint, complaints, dotted, parts, shown
from rlvr_api.contract import API_VERSION, KIND
from rlvr_trainer.cli import lines
from rlvr_trainer.errors import InvalidInput

_HINTS: Final[Mapping[str, str]] = {
    "found character '\\t'": "Indent with spaces, not tabs.",
    "mapping values are not allowed": "Put text that contains `: ` in quotes.",
    "found unexpected end of stream": "A quote or bracket is not closed.",
}


class InvalidManifest(InvalidInput):
    """A manifest with problems; its text has one line for each."""

    def __init__(self, path: Path, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{path}: {count}", *(f"  {problem}" for problem in problems)]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A job and where its fields are written."""

    job: RLVRJob
    document: lines.Document

    def line_of(self, path: str) -> int | None:
        """The line that sets `spec.a.b`, if any does."""
        return self.document.lines.get(parts(path))


def load_manifest(path: Path, *, settings: Sequence[str] = ()) -> RLVRJob:
    """The job in file `path`, with `settings` such as `spec.training.steps=5` put in; InvalidManifest otherwise."""
    return read_manifest(path, settings=settings).job


def read_manifest(path: Path, *, settings: Sequence[str] = ()) -> Manifest:
    """As `load_manifest`, with the lines."""
    document = _only_document(path)
    _check_envelope(path, document)
    problems = [_repeated(document, place) for place in document.repeated]
    problems += [problem for setting in settings if (problem := _put_in(document.value, setting))]
    try:
        job = RLVRJob.model_validate(document.value, by_alias=True, by_name=False)
    except ValidationError as error:
        found = sorted(complaints(error), key=lambda complaint: document.line_of(complaint.path) or 0)
        problems += [_located(document, complaint) for complaint in found]
    if problems:
        raise InvalidManifest(path, problems)
    return Manifest(job=job, document=document)


def _only_document(path: Path) -> lines.Document:
    documents = _parse(path, _read(path))
    if not documents:
        raise InvalidManifest(path, [f"is empty: write an {KIND}; examples/ has some to start from."])
    if len(documents) > 1:
        starts = ", ".join(str(document.line_of(())) for document in documents)
        raise InvalidManifest(
            path, [f"holds {len(documents)} documents (at lines {starts}): keep one {KIND} in a file of its own."]
        )
    return documents[0]


def _read(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidManifest(path, [f"cannot be read ({error.strerror}): give the path of a manifest."]) from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise InvalidManifest(
            path, [f"line {line}: byte 0x{byte:02x} is not UTF-8: save the file with UTF-8 encoding."]
        ) from error


def _parse(path: Path, text: str) -> list[lines.Document]:
    try:
        return lines.parse(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise InvalidManifest(path, [f"{place}not YAML: {_reason(error)}"]) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidManifest(path, [f"not YAML: {error}"]) from error


def _reason(error: yaml.MarkedYAMLError) -> str:
    said = " ".join(part for part in (error.context, error.problem) if part)
    hint = next((hint for sign, hint in _HINTS.items() if sign in said), "Check indentation, quotes and brackets.")
    return f"{said}. {hint}"


def _check_envelope(path: Path, document: lines.Document) -> None:
    """Refuse what is not an RLVRJob before looking at its fields: everything in it would seem wrong."""
    value = document.value
    if not isinstance(value, dict):
        raise InvalidManifest(
            path, [f"is {shown(value)}: must be a mapping, the {KIND} itself (`apiVersion:`, `kind:`, ...)."]
        )
    problems = []
    for key, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if key not in value:
            problems.append(f"{key} is missing: write `{key}: {wanted}`.")
        elif value[key] != wanted:
            problems.append(f"{_at(document.line_of((key,)))}{key} is {shown(value[key])}: write `{key}: {wanted}`.")
    if problems:
        raise InvalidManifest(path, problems)


def _repeated(document: lines.Document, place: lines.Path) -> str:
    return f"{_at(document.line_of(place))}{dotted(place)} is written twice: keep one."


def _located(document: lines.Document, complaint: Complaint) -> str:
    return f"{_at(document.line_of(complaint.path))}{complaint.text}"


def _at(line: int | None) -> str:
    return "" if line is None else f"line {line}: "


def _put_in(tree: Any, setting: str) -> str | None:
    """Set one value in `tree`; what is wrong with `setting` otherwise."""
    path, equals, text = setting.partition("=")
    if not equals or not path.startswith("spec."):
        return f"--set {setting}: write it as spec.some.field=value."
    *parents, last = path.split(".")
    try:
        value = lines.scalar(text)
        for part in parents:
            tree = tree[int(part)] if isinstance(tree, list) else tree.setdefault(part, {})
        tree[int(last) if isinstance(tree, list) else last] = value
    except (yaml.YAMLError, AttributeError, TypeError, ValueError, IndexError):
        return f"--set {setting}: {path} does not lead to a field, or {text!r} is not a value."
    return None
