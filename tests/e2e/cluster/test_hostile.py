"""Hostile programs and answers in a restricted pod of the reward image, on a real cluster.

The corpus travels as a ConfigMap and needs nothing but the image.  There are no namespaces to be had in such a pod, so
this is the jail of Landlock, seccomp and limits alone.  HOSTILE_SAMPLE=0 has all of it judged, in seven minutes.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hostile.corpus
from e2e.cluster.conftest import REGISTRY, TAG, make_namespace
from kubernetes_server import Cluster, as_list

NAMESPACE = "hostile"
CORPUS = Path(hostile.corpus.__file__).parent
SAMPLE = int(os.environ.get("HOSTILE_SAMPLE", "60"))


@pytest.fixture
def walled(cluster: Cluster) -> Iterator[str]:
    """A restricted namespace with the corpus in it."""
    make_namespace(cluster, NAMESPACE)
    files = {path.name: path.read_text() for path in CORPUS.glob("*.py")}
    metadata = {"name": "corpus", "namespace": NAMESPACE}
    corpus = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files}
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=as_list([corpus]))
    yield NAMESPACE
    cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=110s")


def a_pod(*command: str) -> dict[str, Any]:
    """A pod as restricted as a job's reward pods are, which runs `command` once."""
    context = {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": f"{REGISTRY}/rlvr-reward:{TAG}",
        "command": list(command),
        "env": [{"name": "PYTHONPATH", "value": "/corpus:/opt/code"}],
        "securityContext": context,
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "4Gi"}},
        "volumeMounts": [{"name": "corpus", "mountPath": "/corpus/hostile"}, {"name": "tmp", "mountPath": "/tmp"}],
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "containers": [container],
        "volumes": [{"name": "corpus", "configMap": {"name": "corpus"}}, {"name": "tmp", "emptyDir": {}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hostile", "namespace": NAMESPACE}, "spec": spec}


def phase_of(cluster: Cluster, namespace: str, *, seconds: float) -> str:
    """How the pod ended, or its phase when it did not."""
    ends, phase = time.monotonic() + seconds, ""
    while phase not in ("Succeeded", "Failed") and time.monotonic() < ends:
        time.sleep(1.0)
        phase = cluster.get("-n", namespace, "pod", "hostile")["status"]["phase"]
    return phase


@pytest.mark.timeout(3000)
def test_in_a_restricted_pod_nothing_escapes_hangs_or_is_lost(cluster: Cluster, walled: str) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=as_list([a_pod("python3", "-m", "hostile", "--sample", str(SAMPLE))]))
    phase = phase_of(cluster, walled, seconds=2700)
    said = cluster.kubectl("-n", walled, "logs", "hostile")
    print(f"\n{said}")

    assert phase == "Succeeded", said
    report = json.loads(next(line for line in reversed(said.splitlines()) if line.startswith("{")))
    assert (report["escapes"], report["lost"], report["late"], report["healthy"]) == (0, 0, 0, True)
    assert report["items"] >= (50 if SAMPLE else 1000)
    assert report["families"] == 11
    assert report["layers"]["seccomp"]
    assert report["layers"]["landlock-files"]
    assert not report["layers"]["namespaces"]
