"""RLVRJobs on an API server by plain REST: no client of ours in between, nothing hidden."""

import copy
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from kubernetes.client import ApiClient
from kubernetes.config import new_client_from_config

from kubernetes_server import Cluster
from rlvr_api.contract import GROUP, PLURAL, VERSION

_TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io"


@dataclass(frozen=True)
class Answer:
    """What the API server answered."""

    code: int
    body: dict[str, Any]

    @property
    def is_accepted(self) -> bool:
        return self.code < 300

    @property
    def complaints(self) -> dict[str, str]:
        """Field -> message of a refusal; several about one field are joined."""
        found: dict[str, str] = {}
        for cause in self.body.get("details", {}).get("causes", []):
            field, message = cause.get("field", ""), cause.get("message", "")
            found[field] = f"{found[field]}; {message}" if field in found else message
        return found


@dataclass(frozen=True)
class ServedJobs:
    """RLVRJobs of one namespace.  With `is_dry`, nothing is kept."""

    api: ApiClient
    namespace: str
    is_dry: bool = False

    @property
    def dry(self) -> "ServedJobs":
        return replace(self, is_dry=True)

    def create(self, manifest: dict[str, Any], **query: str) -> Answer:
        return self._ask("POST", "", body=manifest, **query)

    def get(self, name: str) -> dict[str, Any]:
        return self._ask("GET", f"/{name}").body

    def listing(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._ask("GET", "").body["items"]
        return found

    def merge(self, name: str, change: dict[str, Any], *, below: str = "") -> Answer:
        """Merge-patch the job or one of its subresources (`status`, `scale`)."""
        path = f"/{name}/{below}" if below else f"/{name}"
        return self._ask("PATCH", path, body=change, content="application/merge-patch+json")

    def scale(self, name: str) -> dict[str, Any]:
        return self._ask("GET", f"/{name}/scale").body

    def table(self, name: str) -> tuple[dict[str, Any], dict[str, int]]:
        """Cells of one job by column, and the columns' priorities."""
        table = self._ask("GET", f"/{name}", accept=_TABLE).body
        columns, (row,) = table["columnDefinitions"], table["rows"]
        cells = dict(zip((column["name"] for column in columns), row["cells"], strict=True))
        return cells, {column["name"]: column["priority"] for column in columns}

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: dict[str, Any] | None = None,
        content: str = "application/json",
        accept: str = "application/json",
        **query: str,
    ) -> Answer:
        if self.is_dry:
            query["dryRun"] = "All"
        request = self.api.param_serialize(
            method,
            f"/apis/{GROUP}/{VERSION}/namespaces/{self.namespace}/{PLURAL}{path}",
            query_params=list(query.items()),
            header_params={"Accept": accept, "Content-Type": content},
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = self.api.call_api(*request, _request_timeout=30)
        return Answer(answer.status, json.loads(answer.read()))


@contextmanager
def jobs_of(cluster: Cluster, namespace: str) -> Iterator[ServedJobs]:
    with new_client_from_config(str(cluster.kubeconfig)) as api:
        yield ServedJobs(api, namespace)


def with_values(manifest: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with values put in by path, such as `spec.training.steps`."""
    changed = copy.deepcopy(manifest)
    for path, value in values.items():
        *parents, last = path.split(".")
        node = changed
        for part in parents:
            node = node.setdefault(part, {})
        node[last] = value
    return changed
