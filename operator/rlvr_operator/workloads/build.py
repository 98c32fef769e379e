"""From a job to manifests: which children it has, and any one of its pods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from rlvr_operator.observed import JobSeen, Role
from rlvr_operator.plan import ChildDeletion, Manifest
from rlvr_operator.workloads.config import config_map
from rlvr_operator.workloads.disruption import budgets
from rlvr_operator.workloads.gangs import adapter_of, gang_of, is_in_gang
from rlvr_operator.workloads.kit import Kit, Member
from rlvr_operator.workloads.learner import learner_pod
from rlvr_operator.workloads.merge import merge
from rlvr_operator.workloads.names import FAILURES, labels_of, name_of, owner, spec_of, with_hash
from rlvr_operator.workloads.network import policies, service
from rlvr_operator.workloads.reward import reward_pod
from rlvr_operator.workloads.rollout import rollout_pod
from rlvr_operator.workloads.templates import mapping, pod_spec, template_of

_SPECS: Final[Mapping[Role, Callable[[JobSeen, Kit, Member], dict[str, Any]]]] = {
    "learner": learner_pod,
    "rollout": rollout_pod,
    "reward": reward_pod,
}


def children(job: JobSeen, kit: Kit) -> tuple[Manifest, ...]:
    """Everything but pods, each with its hash; what pods need to start comes first."""
    gang = adapter_of(job).objects(job, gang_of(job))
    manifests = (config_map(job, kit), service(job), *policies(job, kit), *budgets(job), *gang)
    return tuple(map(with_hash, manifests))


def pod(job: JobSeen, kit: Kit, member: Member) -> Manifest:
    """The pod of `member`: ours, what the user's template says, and its place in or beside the gang."""
    template = template_of(spec_of(job), member.role)
    spec = merge(_SPECS[member.role](job, kit, member), pod_spec(template))
    manifest: Manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name_of(job.name, member.role, member.index, member.attempt),
            "namespace": job.namespace,
            **_metadata(mapping(template.get("metadata")), job, member),
            "ownerReferences": [owner(job)],
        },
        "spec": spec,
    }
    adapter, gang = adapter_of(job), gang_of(job)
    return merge(manifest, adapter.inside(gang) if is_in_gang(job, member) else adapter.beside(gang))


def gang_problem(job: JobSeen, kit: Kit) -> str | None:
    """Why the gang that the job asks for cannot be had in this cluster, and the way out; None when it can."""
    adapter = adapter_of(job)
    if not adapter.apis or kit.gang_apis.intersection(adapter.apis):
        return None
    return (
        f"scheduling.gang is {spec_of(job).scheduling.gang}, which needs the API {' or '.join(adapter.apis)}, and this "
        f"cluster does not serve it: {adapter.way_out}, or suspend the job and set scheduling.gang to none"
    )


def gang_remains(job: JobSeen, kit: Kit) -> tuple[ChildDeletion, ...]:
    """What to delete once no pod of the job is to run any more, so that ended pods are let go."""
    adapter = adapter_of(job)
    served = next((api for api in adapter.apis if api in kit.gang_apis), None)
    return adapter.remains(gang_of(job), served) if served else ()


def _metadata(template: Mapping[str, Any], job: JobSeen, member: Member) -> dict[str, Any]:
    return {
        "labels": {**mapping(template.get("labels")), **labels_of(job, member)},
        "annotations": {**mapping(template.get("annotations")), FAILURES: str(member.failures)},
    }
