"""The control plane that other tests stand on: admission as in a cluster, and components that die and come back."""

import json
from pathlib import Path
from typing import Any

import pytest

from kubernetes_server import EVERYTHING, Cluster, control_plane, wait_until


def a_pod(namespace: str, **spec: Any) -> str:
    container = {"name": "main", "image": "image"}
    metadata = {"name": "pod", "namespace": namespace}
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **spec}}
    )


def test_pod_security_is_enforced(kubernetes: Cluster) -> None:
    namespace = kubernetes.make_namespace(security="restricted")
    try:
        done = kubernetes.try_kubectl("create", "-f", "-", stdin=a_pod(namespace, hostNetwork=True))
    finally:
        kubernetes.kubectl("delete", "namespace", namespace, "--wait=false")

    assert done.returncode == 1
    assert 'violates PodSecurity "restricted' in done.stderr


def test_tokens_are_made_for_an_audience(kubernetes: Cluster, namespace: str) -> None:
    token = kubernetes.kubectl("create", "token", "default", "-n", namespace, "--audience=job-uid")

    assert token.count(".") == 2


@pytest.mark.timeout(200)
def test_pods_live_on_nodes_that_do_not_exist_and_the_api_server_dies_freezes_and_returns(tmp_path: Path) -> None:
    with control_plane(tmp_path / "plane", EVERYTHING, gang=True) as plane:
        plane.add_nodes(2, gpus=8)
        namespace = plane.make_namespace()
        plane.kubectl("create", "-f", "-", stdin=a_pod(namespace))
        phase = ("-n", namespace, "pod", "pod", "-o", "jsonpath={.status.phase}")
        wait_until(lambda: plane.kubectl("get", *phase) == "Running", "the pod runs")

        plane.kill("kube-apiserver")
        assert not plane.is_ready()
        plane.start("kube-apiserver")
        plane.wait_ready()
        plane.freeze("kube-apiserver")
        assert not plane.is_ready()
        plane.thaw("kube-apiserver")
        plane.wait_ready()

        assert plane.kubectl("get", *phase) == "Running"
        assert "podgroups" in plane.kubectl("api-resources", "--api-group=scheduling.k8s.io")
    assert not (tmp_path / "plane").exists()
