"""What tests on a real cluster need: the cluster, an S3 server that its pods reach, the operator, a team.

KUBECONFIG names the cluster, RLVR_REGISTRY and RLVR_TAG the images that its nodes have (default rlvr.dev and dev),
RLVR_HELM the Helm to install with (default helm), RLVR_KUBERNETES the folder of the script that can break the cluster.
`make e2e-cluster` provides all of it.  The S3 server listens on the first node's address, so that node is this machine.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from charts import CHART, NAMESPACE, RELEASE, run_helm
from e2e.cluster.jobs import Team
from kubernetes_server import Cluster
from object_store import ObjectStoreServer, running_store

REGISTRY = os.environ.get("RLVR_REGISTRY", "rlvr.dev")
TAG = os.environ.get("RLVR_TAG", "dev")
VALUES = (
    f"images.registry={REGISTRY}",
    f"images.tag={TAG}",
    "settings.progress_min=3",  # statuses lag behind by as much
    "settings.progress_max=5",
)


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The cluster of KUBECONFIG."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("no cluster: set KUBECONFIG, or run `make e2e-cluster`")
    return Cluster(kubeconfig=Path(os.environ["KUBECONFIG"]), kubectl_path=shutil.which("kubectl") or "kubectl")


@pytest.fixture(scope="session")
def store(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStoreServer]:
    """An S3 server that pods reach."""
    addresses = cluster.get("nodes")["items"][0]["status"]["addresses"]
    host = next(it["address"] for it in addresses if it["type"] == "InternalIP")
    with running_store(tmp_path_factory.mktemp("object-store"), host=host) as server:
        yield server


@pytest.fixture(scope="session")
def installed(cluster: Cluster) -> str:
    """The operator in a namespace that enforces the restricted standard; the namespace's name."""
    make_namespace(cluster, NAMESPACE)
    install(cluster)
    return NAMESPACE


@pytest.fixture
def team(cluster: Cluster, installed: str, store: ObjectStoreServer) -> Iterator[Team]:
    """A namespace for the jobs of one test, with the store's credentials in a Secret; everything goes with it."""
    name = f"team-{os.urandom(3).hex()}"
    make_namespace(cluster, name)
    made = Team(cluster=cluster, namespace=name, store=store, bucket=store.make_bucket())
    made.make_secret("store", store.environment)
    yield made
    cluster.kubectl("delete", "namespace", name, "--ignore-not-found", "--timeout=110s")


def make_namespace(cluster: Cluster, name: str) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def install(cluster: Cluster, *values: str) -> None:
    """`helm upgrade --install` of the chart with the images under test."""
    options = [word for value in (*VALUES, *values) for word in ("--set", value)]
    where = ("--namespace", NAMESPACE, "--kubeconfig", cluster.kubeconfig, "--wait", "--timeout", "300s")
    done = run_helm(os.environ.get("RLVR_HELM", "helm"), "upgrade", "--install", RELEASE, CHART, *where, *options)
    assert done.returncode == 0, done.stderr


def uninstall(cluster: Cluster) -> None:
    where = ("--namespace", NAMESPACE, "--kubeconfig", cluster.kubeconfig, "--wait", "--timeout", "110s")
    done = run_helm(os.environ.get("RLVR_HELM", "helm"), "uninstall", RELEASE, *where)
    assert done.returncode == 0, done.stderr
