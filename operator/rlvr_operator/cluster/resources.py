"""Kinds of Kubernetes objects and where the API server serves them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from rlvr_api import contract

Raw = dict[str, Any]
"""An object as the API server wrote it; never turned into a model."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind, in one version."""

    api_version: str
    kind: str

    @property
    def plural(self) -> str:
        """The resource's name; Kubernetes guesses plurals by the same rules."""
        name = self.kind.lower()
        if name.endswith("s"):
            return f"{name}es"
        return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """Path of the collection, an object or its subresource; without namespace over all of them."""
        root = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        within = f"/namespaces/{namespace}" if namespace else ""
        return root + within + "".join(f"/{part}" for part in (self.plural, name, sub) if part)


JOBS: Final = Resource(contract.API_VERSION, contract.KIND)
PODS: Final = Resource("v1", "Pod")
NODES: Final = Resource("v1", "Node")
EVENTS: Final = Resource("v1", "Event")
LEASES: Final = Resource("coordination.k8s.io/v1", "Lease")
SERVICE_ACCOUNTS: Final = Resource("v1", "ServiceAccount")
CHILDREN: Final = (
    Resource("v1", "ConfigMap"),
    Resource("v1", "Service"),
    Resource("networking.k8s.io/v1", "NetworkPolicy"),
    Resource("policy/v1", "PodDisruptionBudget"),
)
"""Applied children that every job may have; PodGroups come with the gang APIs that the cluster has."""


def resource_of(manifest: Mapping[str, Any]) -> Resource:
    """The resource that a manifest is an object of."""
    return Resource(manifest["apiVersion"], manifest["kind"])
