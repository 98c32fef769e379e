"""The ConfigMap of a job: what its pods read instead of asking the API server.

job.json    the validated job
peers.json  addresses of all rollouts and rewards there may be; grows with the replicas while the job runs
trust.json  whose tokens to accept: issuer, audience and the issuer's public keys
"""

from __future__ import annotations

import json
from typing import Any, Final

from rlvr_api import contract
from rlvr_operator.observed import JobSeen
from rlvr_operator.plan import Manifest
from rlvr_operator.workloads.kit import Kit
from rlvr_operator.workloads.names import child_metadata, host_of, most_rollouts, spec_of

_UNREAD: Final = frozenset({"suspend", "managed_by"})
"""The operator's business; leaving them out saves a write at every suspension."""


def config_map(job: JobSeen, kit: Kit) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(job, job.name),
        "data": {
            "job.json": _text(job_document(job)),
            "peers.json": _text({"rollouts": rollout_urls(job, kit), "rewards": reward_urls(job, kit)}),
            "trust.json": _text(trust(job, kit)),
        },
    }


def job_document(job: JobSeen) -> dict[str, Any]:
    """The job as the trainer reads it; only what was said, so that presets keep their meaning."""
    spec = spec_of(job).model_dump(mode="json", by_alias=True, exclude_unset=True, exclude=set(_UNREAD))
    return {
        "apiVersion": contract.API_VERSION,
        "kind": contract.KIND,
        "metadata": {"name": job.name, "namespace": job.namespace, "uid": job.uid},
        "spec": spec,
    }


def rollout_urls(job: JobSeen, kit: Kit) -> list[str]:
    indices = range(most_rollouts(spec_of(job)))
    return [f"http://{host_of(job, kit, role='rollout', index=i)}:{contract.PORT_AGENT}" for i in indices]


def reward_urls(job: JobSeen, kit: Kit) -> list[str]:
    indices = range(spec_of(job).reward.replicas)
    return [f"http://{host_of(job, kit, role='reward', index=i)}:{contract.PORT_REWARD}" for i in indices]


def trust(job: JobSeen, kit: Kit) -> dict[str, Any]:
    """Tokens with this audience, signed by these keys, of a ServiceAccount of the job's namespace or the operator's."""
    operator = f"system:serviceaccount:{kit.operator_namespace}:{kit.operator_service_account}"
    return {
        "issuer": kit.issuer,
        "audience": job.uid,
        "namespace": job.namespace,
        "operator": operator,
        "jwks": json.loads(kit.jwks) if kit.jwks else {"keys": []},
    }


def _text(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
