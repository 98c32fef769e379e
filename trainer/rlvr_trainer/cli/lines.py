"""YAML with the line of every key, so that an error can say where it is.

Reads what the API server reads: duplicate keys are refused, dates stay text, 1e-6 is a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One YAML document."""

    value: Any
    lines: Mapping[Path, int]
    """Line, counted from 1, of each key and list item."""
    repeated: tuple[Path, ...]
    """Keys that their mapping already had."""

    def line_of(self, path: Path) -> int | None:
        """The line of `path`, or of the nearest thing around it that is in the file."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2's core schema where they differ in manifests."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse(text: str) -> list[Document]:
    """The documents of `text` that are not empty; yaml.YAMLError when it is not YAML."""
    loader = _Loader(text)
    documents = []
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None, "check_node said there is one"
            documents.append(_document(node, loader))
    finally:
        loader.dispose()
    return [document for document in documents if document.value is not None]


def scalar(text: str) -> Any:
    """A value as it would be read from a manifest."""
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader


def _document(node: yaml.Node, loader: _Loader) -> Document:
    places = list(_places(node, ()))
    lines: dict[Path, int] = {}
    repeated = []
    for path, line in places:
        if path in lines:
            repeated.append(path)
        lines[path] = line
    return Document(value=loader.construct_document(node), lines=lines, repeated=tuple(repeated))


def _places(node: yaml.Node, path: Path) -> Iterator[tuple[Path, int]]:
    """Every key and item below `node`, with its line."""
    if not path:
        yield path, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _places(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield (*path, index), value.start_mark.line + 1
            yield from _places(value, (*path, index))
