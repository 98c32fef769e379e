"""Every manifest that a job turns into, in a namespace that enforces the `restricted` Pod Security Standard."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernetes_server import Cluster, as_list
from rlvr_api import RLVRJob
from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads import HASH, children, conflicts
from workload_builders import KIT, UID, a_seen_job, a_vllm_job, all_pods

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
DRY = ("--dry-run=server", "--validate=strict", "-o", "json", "-f", "-")


@pytest.fixture(scope="module")
def restricted(kubernetes: Cluster) -> Iterator[str]:
    name = kubernetes.make_namespace(security="restricted")
    sandbox = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "runsc"}
    kubernetes.apply({**sandbox, "metadata": {"name": "gvisor"}})
    yield name
    kubernetes.kubectl("delete", "namespace", name, "--wait=false")


def read_example(path: Path, namespace: str) -> JobSeen:
    job = RLVRJob.model_validate_json(json.dumps(yaml.safe_load(path.read_text())))
    return JobSeen(namespace=namespace, name=job.metadata.name, uid=UID, generation=1, created_at=0.0, spec=job.spec)


def smaller(job: JobSeen) -> JobSeen:
    """Two pods of a kind say what two hundred say."""
    assert job.spec is not None
    spec = job.spec
    learner = spec.learner.model_copy(update={"nodes": min(spec.learner.nodes, 2)})
    rollout = spec.rollout.model_copy(update={"replicas": min(spec.rollout.replicas, 2)})
    return replace(job, spec=spec.model_copy(update={"learner": learner, "rollout": rollout}))


def accepted(kubernetes: Cluster, verb: str, manifests: list[Manifest]) -> list[dict[str, Any]]:
    """What the server would store."""
    flags = ("--server-side", "--force-conflicts") if verb == "apply" else ()
    return list(documents(kubernetes.kubectl(verb, *flags, *DRY, stdin=as_list(manifests))))


def documents(text: str) -> Iterator[dict[str, Any]]:
    """Objects one after the other, or a List of them: kubectl's verbs differ."""
    while text := text.lstrip():
        found, end = json.JSONDecoder().raw_decode(text)
        yield from found["items"] if found["kind"] == "List" else [found]
        text = text[end:]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_manifest_of_every_example_is_accepted(path: Path, kubernetes: Cluster, restricted: str) -> None:
    job = smaller(read_example(path, restricted))
    pods = all_pods(job)

    assert conflicts(job.spec) == ()  # type: ignore[arg-type]
    assert len(accepted(kubernetes, "apply", list(children(job, KIT)))) == len(children(job, KIT))
    assert len(accepted(kubernetes, "create", pods)) == len(pods)


def a_demanding_job(namespace: str) -> JobSeen:
    """Everything that a template may say and a cluster may have to understand."""
    common = {
        "nodeSelector": {"pool": "gpus"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"rlvr.dev/job": "demanding"}},
            }
        ],
        "imagePullSecrets": [{"name": "registry"}],
        "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}}],
    }
    engine = {
        "name": "engine",
        "args": ["--gpu-memory-utilization", "0.85"],
        "env": [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}],
        "volumeMounts": [{"name": "models", "mountPath": "/models", "readOnly": True}],
        "resources": {"claims": [{"name": "gpu"}], "limits": {"memory": "64Gi"}},
    }
    claims = [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]
    learner_affinity = {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]
            }
        }
    }
    return a_vllm_job(
        name="demanding",
        namespace=namespace,
        rollout={"replicas": 2, "template": {"spec": {**common, "resourceClaims": claims, "containers": [engine]}}},
        learner={
            "nodes": 2,
            "gpusPerNode": 2,
            "backend": {"deepspeed": {}},
            "template": {
                "metadata": {"labels": {"team": "reasoning"}},
                "spec": {
                    **common,
                    "affinity": learner_affinity,
                    "serviceAccountName": "default",
                    "containers": [{"name": "learner", "resources": {"limits": {"amd.com/gpu": 2}}}],
                },
            },
        },
        checkpoint={"uri": "s3://bucket/run", "secretRef": {"name": "store"}},
        scheduling={"topologyKey": "rack"},
    )


def test_templates_that_ask_for_much_are_accepted(kubernetes: Cluster, restricted: str) -> None:
    job = a_demanding_job(restricted)

    pods = accepted(kubernetes, "create", all_pods(job))

    learner, rollout = pods[0]["spec"], pods[2]["spec"]
    assert conflicts(job.spec) == ()  # type: ignore[arg-type]
    assert set(learner["affinity"]) == {"nodeAffinity", "podAffinity"}
    assert rollout["containers"][1]["resources"]["claims"] == [{"name": "gpu"}]
    assert pods[0]["metadata"]["labels"]["team"] == "reasoning"


def test_the_standard_is_really_enforced_here(kubernetes: Cluster, restricted: str) -> None:
    learner = {
        "template": {
            "spec": {"containers": [{"name": "learner", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}]}
        }
    }
    pod = all_pods(a_seen_job(namespace=restricted, learner=learner))[0]

    refusal = kubernetes.try_kubectl("create", *DRY, stdin=as_list([pod]))

    assert refusal.returncode != 0
    assert 'violates PodSecurity "restricted' in refusal.stderr


def test_applying_again_changes_nothing(kubernetes: Cluster, restricted: str) -> None:
    job = a_vllm_job(name="twice", namespace=restricted, rollout={"replicas": 2})
    first, second = (applied(kubernetes, job, restricted) for _ in range(2))

    assert first == second
    assert len(first) == 5


def applied(kubernetes: Cluster, job: JobSeen, namespace: str) -> dict[str, tuple[str, str]]:
    """Version and hash of each child after an apply."""
    manifests = children(job, KIT)
    # Without a controller manager nothing collects the children of a job that is not there.
    kubernetes.apply(*manifests)
    kinds = "configmaps,services,networkpolicies,poddisruptionbudgets"
    found = kubernetes.get(kinds, "-n", namespace, "-l", "rlvr.dev/job=twice")["items"]
    return {
        f"{item['kind']}/{item['metadata']['name']}": (
            item["metadata"]["resourceVersion"],
            item["metadata"]["annotations"][HASH],
        )
        for item in found
    }
