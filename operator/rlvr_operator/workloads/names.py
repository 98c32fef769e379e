"""Names, labels and addresses of what belongs to a job; all follow from the job and the member.

The Service, the ConfigMap and the first NetworkPolicy have the job's own name: the Service's is part of every address.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from rlvr_api import RLVRJobSpec, contract
from rlvr_operator.observed import JobSeen, Role
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads.kit import Kit, Member

HASH: Final = f"{contract.GROUP}/hash"
"""Annotation of applied children: digest of their own content."""
FAILURES: Final = f"{contract.GROUP}/failures"
"""Annotation of rollout and reward pods: failures in a row before this incarnation."""


def name_of(job_name: str, role: Role, index: int, attempt: int) -> str:
    """The pod's name; 58 characters at most."""
    return f"{job_name}-{role}-{index}-a{attempt}"


def child_key(manifest: Manifest) -> str:
    """`Kind/name`."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def spec_of(job: JobSeen) -> RLVRJobSpec:
    assert job.spec is not None, "nothing is built for a job whose spec breaks rules"
    return job.spec


def host_of(job: JobSeen, kit: Kit, *, role: Role, index: int) -> str:
    """Where the pod is found, whichever incarnation it is."""
    return f"{role}-{index}.{job.name}.{job.namespace}.svc.{kit.cluster_domain}"


def minimum_rollouts(spec: RLVRJobSpec) -> int:
    """Replicas without which the job does not start."""
    return spec.rollout.min or 1


def most_rollouts(spec: RLVRJobSpec) -> int:
    """Replicas that there can be; without `max`, those wanted now."""
    return max(spec.rollout.replicas, spec.rollout.max or 0)


def labels_of(job: JobSeen, member: Member) -> dict[str, str]:
    return {
        contract.LABEL_MANAGED: "true",
        contract.LABEL_JOB: job.name,
        contract.LABEL_ROLE: member.role,
        contract.LABEL_INDEX: str(member.index),
        contract.LABEL_ATTEMPT: str(member.attempt),
    }


def selector_of(job: JobSeen, role: Role | None = None) -> dict[str, str]:
    """Labels that all pods of the job, or of one of its roles, share."""
    return {contract.LABEL_JOB: job.name} | ({contract.LABEL_ROLE: role} if role else {})


def child_metadata(job: JobSeen, name: str) -> dict[str, Any]:
    """Metadata of an applied child; garbage-collected with the job."""
    labels = {contract.LABEL_MANAGED: "true", contract.LABEL_JOB: job.name}
    return {"name": name, "namespace": job.namespace, "labels": labels, "ownerReferences": [owner(job)]}


def owner(job: JobSeen) -> dict[str, Any]:
    return {
        "apiVersion": contract.API_VERSION,
        "kind": contract.KIND,
        "name": job.name,
        "uid": job.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def with_hash(manifest: Manifest) -> Manifest:
    """`manifest` with the digest of its content, which does not depend on the order of keys."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), HASH: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}
