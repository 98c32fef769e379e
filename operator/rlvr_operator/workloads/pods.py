"""What the pods of all roles have in common: identity, volumes, environment, probes, the restricted security profile.

A pod mounts the job (read-only), its own token, and three empty folders: the work folder, /tmp and, for roles with
torch, shared memory.  Everything else of its file system is read-only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from rlvr_api import contract
from rlvr_operator.observed import JobSeen
from rlvr_operator.workloads.kit import Member
from rlvr_operator.workloads.names import spec_of

USER: Final = 10001
"""Runs everything; above 10000, so that it is no account of a node."""
TOKEN_SECONDS: Final = 3600
CONFIG_FOLDER: Final = contract.JOB_FILE.rpartition("/")[0]
TOKEN_FOLDER: Final = contract.TOKEN_FILE.rpartition("/")[0]
JOB_VOLUME, TOKEN_VOLUME, WORK_VOLUME, TMP_VOLUME, SHM_VOLUME = "job", "token", "work", "tmp", "shm"
MOUNTS: Final[Mapping[str, str]] = {
    JOB_VOLUME: CONFIG_FOLDER,
    TOKEN_VOLUME: TOKEN_FOLDER,
    WORK_VOLUME: contract.WORK_FOLDER,
    TMP_VOLUME: "/tmp",  # noqa: S108 - a volume of the pod's own
    SHM_VOLUME: "/dev/shm",  # noqa: S108 - a volume of the pod's own
}
PYTHON: Final = ("python3", "-m", "rlvr_trainer")
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""For roles without torch: their thread pools would only take memory and time slices."""
_PROBE_SECONDS: Final = 5
_ALIVE_SECONDS: Final = 30
_ALIVE_FAILURES: Final = 10
"""Five minutes of silence end a container; a hang of training is found by limits.hangTimeoutSeconds, not here."""


def base_pod(job: JobSeen, member: Member, *, containers: list[dict[str, Any]], grace_seconds: int) -> dict[str, Any]:
    """The pod spec that a role adds to."""
    spec = spec_of(job)
    pod: dict[str, Any] = {
        "hostname": f"{member.role}-{member.index}",
        "subdomain": job.name,
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": grace_seconds,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
        "volumes": _volumes(job),
    }
    if spec.scheduling.priority_class_name is not None:
        pod["priorityClassName"] = spec.scheduling.priority_class_name
    return pod


def container(
    name: str, *, image: str, command: tuple[str, ...], environment: Mapping[str, str], **more: Any
) -> dict[str, Any]:
    """A container that may write to its volumes and nowhere else."""
    volumes = (JOB_VOLUME, TOKEN_VOLUME, WORK_VOLUME, TMP_VOLUME)
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "volumeMounts": [mount(volume) for volume in volumes],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **more,
    }


def mount(volume: str) -> dict[str, Any]:
    read_only = {"readOnly": True} if volume in {JOB_VOLUME, TOKEN_VOLUME} else {}
    return {"name": volume, "mountPath": MOUNTS[volume], **read_only}


def shared_memory() -> dict[str, Any]:
    """Half of the node's memory at most; counted against the memory limit of whoever writes it."""
    return {"name": SHM_VOLUME, "emptyDir": {"medium": "Memory"}}


def environment(member: Member, *, port: int, told: Mapping[str, str] | None = None) -> dict[str, str]:
    """What every role process is told (`trainer/rlvr_trainer/surroundings.py`), and what libraries want to know."""
    return {
        "RLVR_JOB": contract.JOB_FILE,
        "RLVR_DIR": contract.WORK_FOLDER,
        "RLVR_TOKEN_FILE": contract.TOKEN_FILE,
        "RLVR_ATTEMPT": str(member.attempt),
        "RLVR_INDEX": str(member.index),
        "RLVR_HOST": "0.0.0.0",  # noqa: S104 - a pod's own address; the NetworkPolicy says who may come
        "RLVR_PORT": str(port),
        **(told or {}),
        # Libraries keep caches at home and ask for the name of a user that has no entry in /etc/passwd.
        "HOME": MOUNTS[TMP_VOLUME],
        "USER": "rlvr",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def probes(port: int, *, startup_seconds: int) -> dict[str, Any]:
    """Ready and alive while /health, the one route without a token, answers; given time to begin with."""
    ask = {"httpGet": {"path": "/health", "port": port}}
    return {
        "startupProbe": starting(ask, startup_seconds),
        "readinessProbe": {**ask, "periodSeconds": _PROBE_SECONDS, "timeoutSeconds": _PROBE_SECONDS},
        "livenessProbe": living(ask),
    }


def starting(ask: Mapping[str, Any], seconds: int) -> dict[str, Any]:
    tries = math.ceil(seconds / _PROBE_SECONDS)
    return {**ask, "periodSeconds": _PROBE_SECONDS, "timeoutSeconds": _PROBE_SECONDS, "failureThreshold": tries}


def living(ask: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **ask,
        "periodSeconds": _ALIVE_SECONDS,
        "timeoutSeconds": _ALIVE_SECONDS,
        "failureThreshold": _ALIVE_FAILURES,
    }


def requests(*, cpu: str, memory: str) -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": memory}}


def _volumes(job: JobSeen) -> list[dict[str, Any]]:
    token = {"audience": job.uid, "expirationSeconds": TOKEN_SECONDS, "path": contract.TOKEN_FILE.rpartition("/")[2]}
    return [
        {"name": JOB_VOLUME, "configMap": {"name": job.name}},
        {"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}},
        {"name": WORK_VOLUME, "emptyDir": {}},
        {"name": TMP_VOLUME, "emptyDir": {}},
    ]
