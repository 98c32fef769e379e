"""The environment of the operator process, read once: every variable is RLVR_OPERATOR_ and a field's name in capitals.

What a job needs is in its RLVRJob, not here.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final

from rlvr_operator.errors import InvalidSettings

PREFIX: Final = "RLVR_OPERATOR_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this process runs.  Durations are seconds."""

    namespace: str = "rlvr-system"
    """Where the Lease is, and the ServiceAccount that asks coordinators."""
    service_account: str = "rlvr-operator"
    identity: str = field(default_factory=lambda: f"{socket.gethostname()}-{secrets.token_hex(3)}")
    """Name of this process in the Lease, unique among replicas; with a pod's own name a restarted container goes on."""
    watch_namespaces: tuple[str, ...] = ()
    """Empty: all namespaces."""
    watch_nodes: bool = True
    """False where the operator may not read nodes; pods on lost nodes are then noticed when the cluster evicts them."""
    trainer_image: str = ""
    engine_image: str = ""
    reward_image: str = ""
    cluster_domain: str = "cluster.local"
    monitoring_namespace: str = ""
    """Where Prometheus is, so that it may reach the pods of jobs."""
    host: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the pod
    port: int = 8080
    """Serves /livez, /readyz and /metrics."""
    log_level: str = "INFO"

    workers: int = 8
    """Jobs reconciled at a time."""
    writes: int = 12
    """Requests under way at a time that change something."""
    settle: float = 1.0
    """A job is looked at again at the earliest this long after the last time: a burst of events is one look."""
    resync: float = 600.0
    """Every job is looked at this often even when nothing happens."""
    gang_search: float = 60.0
    """How often gang APIs are looked for while a job waits for one that the cluster did not have."""
    audit: float = 30.0
    """How often the jobs delivered by kopf are compared with a list of their names and versions."""

    connect_timeout: float = 3.0
    request_timeout: float = 10.0
    watch_seconds: float = 40.0
    """The server ends each watch after this long; silence that lasts `request_timeout` longer is a dead connection."""
    stale_after: float = 75.0
    """A watch that was not heard for this long makes the process not ready."""
    retry_ceiling: float = 5.0
    """Longest pause between attempts to reach the API server."""
    shutdown: float = 20.0
    """A process that has not ended so long after a signal is killed."""

    lease_name: str = "rlvr-operator"
    lease_duration: float = 15.0
    """Another process takes over when the Lease was not renewed for this long."""
    renew_deadline: float = 10.0
    """The leader stops acting when it could not renew for this long."""
    renew_period: float = 2.0

    progress_min: float = 15.0
    progress_max: float = 30.0
    """A coordinator is asked every `progress_min` to `progress_max` seconds."""
    progress_token_file: str = ""
    """Bearer token for coordinators instead of one from the TokenRequest API."""

    def __post_init__(self) -> None:
        if not self.renew_period < self.renew_deadline < self.lease_duration:
            raise InvalidSettings(
                f"{PREFIX}RENEW_PERIOD={self.renew_period}, {PREFIX}RENEW_DEADLINE={self.renew_deadline} and "
                f"{PREFIX}LEASE_DURATION={self.lease_duration} must grow in this order: "
                "a leader has to stop before another may start."
            )


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings that `environment` describes; a variable that cannot be read or does not exist is named."""
    known = {PREFIX + each.name.upper(): each for each in fields(Settings)}
    given = {name: text for name, text in environment.items() if name.startswith(PREFIX)}
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise InvalidSettings(f"{unknown[0]} is not a setting. There are: {', '.join(sorted(known))}.")
    values: dict[str, Any] = {known[name].name: _value(name, known[name], text) for name, text in given.items()}
    return Settings(**values)


def _value(name: str, setting: Field[Any], text: str) -> object:
    try:
        return _READERS[str(setting.type)](text.strip())
    except (ValueError, KeyError):
        raise InvalidSettings(f"{name}={text!r} cannot be read as {setting.type}.") from None


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_READERS: Final[Mapping[str, Callable[[str], object]]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": _boolean,
    "tuple[str, ...]": _names,
}
