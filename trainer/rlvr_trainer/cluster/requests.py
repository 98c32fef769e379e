"""Questions to an API server as records, and the seam at which they are asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

from rlvr_api.contract import GROUP, PLURAL, VERSION

Verb = Literal["get", "list", "watch", "create", "patch", "delete"]
Resource = Literal["rlvrjobs", "pods", "pods/log", "events"]
Object = dict[str, Any]

METHODS: Final[Mapping[Verb, str]] = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "patch": "PATCH",
    "delete": "DELETE",
}
JSON: Final = "application/json"
MERGE: Final = "application/merge-patch+json"
APPLY: Final = "application/apply-patch+yaml"
TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked, in the words in which RBAC allows it."""

    verb: Verb
    resource: Resource
    namespace: str | None
    """None: all of them."""
    name: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    body: Object | None = None
    content: str = JSON
    accept: str = JSON

    @property
    def method(self) -> str:
        return METHODS[self.verb]

    @property
    def path(self) -> str:
        plural, _, below = self.resource.partition("/")
        root = f"/apis/{GROUP}/{VERSION}" if plural == PLURAL else "/api/v1"
        place = f"/namespaces/{self.namespace}" if self.namespace else ""
        return "/".join(part for part in (f"{root}{place}/{plural}", self.name, below) if part)

    @property
    def group_resource(self) -> str:
        """The resource as `kubectl auth can-i` takes it."""
        return f"{self.resource}.{GROUP}" if self.resource == PLURAL else self.resource


class Api(Protocol):
    """One API server.  Both methods raise the errors of `refusals`."""

    @property
    def namespace(self) -> str:
        """The namespace of the kubeconfig's context."""

    def ask(self, request: Request) -> Object:
        """The answer to `request`."""

    def lines(self, request: Request, *, silence_seconds: float | None) -> Iterator[str]:
        """The lines of a streamed answer; Unavailable when none comes for `silence_seconds`."""
