"""Requests to the API server as values, and how to read what it says when it does not do them.  Pure."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from rlvr_operator.cluster.resources import Raw, Resource

MANAGER: Final = "rlvr-operator"
JSON: Final = "application/json"
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
_NAMES_ONLY: Final = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1,application/json"
_LONGEST_WAIT: Final = 10.0
_FIRST_WAIT: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Objects of one resource to list and watch."""

    resource: Resource
    namespace: str = ""
    selector: str = ""
    names_only: bool = False
    """Metadata is enough: the server leaves everything else out."""

    @property
    def path(self) -> str:
        return self.resource.path(self.namespace)

    def accept(self, *, is_list: bool) -> str:
        return _NAMES_ONLY.format("List" if is_list else "") if self.names_only else JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; an empty value in `query` is left out."""

    verb: str
    resource: Resource
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Raw | None = None
    content: str = JSON
    accept: str = JSON

    @property
    def target(self) -> str:
        asked = urlencode({key: value for key, value in self.query.items() if value})
        return f"{self.path}?{asked}" if asked else self.path

    @property
    def headers(self) -> dict[str, str]:
        return {"Accept": self.accept, "Content-Type": self.content}

    @property
    def is_write(self) -> bool:
        return self.verb != "GET"


def message_of(text: bytes, request: Request) -> str:
    """The server's own words; a proxy's page is cut short."""
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return f"{request.verb} {request.path}: {text[:200].decode(errors='replace')}"


def wait_before(attempt: int, retry_after: str) -> float:
    """Seconds before another attempt: what the server asks for, else doubling; never the same for all clients."""
    asked = float(retry_after) if retry_after.isdigit() else _FIRST_WAIT * 2.0 ** (attempt - 1)
    return min(asked, _LONGEST_WAIT) * random.uniform(0.8, 1.2)


class Lines:
    """Whole lines out of pieces that end anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, piece: bytes) -> Iterator[bytes]:
        *lines, self._rest = (self._rest + piece).split(b"\n")
        return (line for line in lines if line)
