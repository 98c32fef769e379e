"""The operator as a process of its own, as a Deployment starts it, and what can be learnt of it from outside."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubernetes_server import EVERYTHING, Cluster, ControlPlane, control_plane, wait_until
from object_store import free_ports

NAMESPACE: Final = "rlvr-system"
QUICK: Final = {
    "RENEW_PERIOD": "0.3",
    "RENEW_DEADLINE": "2",
    "LEASE_DURATION": "3",
    "WATCH_SECONDS": "3",
    "REQUEST_TIMEOUT": "2",
    "CONNECT_TIMEOUT": "1",
    "STALE_AFTER": "6",
    "AUDIT": "1",
    "RETRY_CEILING": "1",
    "SETTLE": "0.1",
}
"""Settings that make outages short enough for tests."""
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass
class OperatorProcess:
    """One replica."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, path: str) -> tuple[int, str]:
        """Status and text; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=3) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def is_ready(self) -> bool:
        return self.ask("/readyz")[0] == 200

    def is_leader(self) -> bool:
        return self.metric("rlvr_operator_leader") == 1

    def metrics(self) -> dict[str, float]:
        """Value of each sample by its name with labels, as the process prints it."""
        lines = self.ask("/metrics")[1].splitlines()
        return {name: float(value) for name, value in (it.rsplit(" ", 1) for it in lines if it and it[0] != "#")}

    def metric(self, name: str) -> float | None:
        """The sum over labels; None when there is none."""
        values = [value for key, value in self.metrics().items() if key.split("{")[0] == name]
        return sum(values) if values else None

    def writes(self) -> float:
        """Requests so far that change something stored, the Lease's not counted; tokens are not stored."""
        pattern = re.compile(r'rlvr_operator_api_requests_total\{code="[^"]*",resource="([^"]*)",verb="([^"]*)"\}')
        found = ((pattern.match(key), value) for key, value in self.metrics().items())
        return sum(
            v for m, v in found if m and m[1] not in {"leases", "serviceaccounts"} and m[2] not in {"GET", "WATCH"}
        )

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def peak_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    def surprise(self) -> str:
        """Where the log has a traceback: the first, and what was said before it."""
        before, _, found = self.log.read_text().partition("Traceback")
        return f"{before[-500:]}Traceback{found[:4000]}" if found else ""

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, seconds: float = 30.0) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def start_operator(cluster: Cluster, log: Path, **settings: Any) -> OperatorProcess:
    """A replica; settings are those of rlvr_operator.settings, in capitals.  Returns at once."""
    port = free_ports(1)[0]
    given = {"NAMESPACE": NAMESPACE, "HOST": "127.0.0.1", "PORT": str(port)} | {k: str(v) for k, v in settings.items()}
    images = {f"{role}_IMAGE": f"rlvr.test/{role.lower()}:1" for role in ("TRAINER", "ENGINE", "REWARD")}
    environment = {f"RLVR_OPERATOR_{name}": value for name, value in (images | given).items()}
    with log.open("ab") as lines:
        process = subprocess.Popen(
            [sys.executable, "-m", "rlvr_operator"],
            env={**os.environ, **environment, "KUBECONFIG": str(cluster.kubeconfig)},
            stdout=lines,
            stderr=lines,
            process_group=cluster.group if isinstance(cluster, ControlPlane) else None,  # ends with it, however
        )
    return OperatorProcess(process, port, log)


@contextmanager
def operator(cluster: Cluster, log: Path, **settings: Any) -> Iterator[OperatorProcess]:
    """A ready replica; gone afterwards, however it ended."""
    replica = start_operator(cluster, log, **settings)
    try:
        wait_until(lambda: replica.is_ready() or replica.process.poll() is not None, "the operator is ready", 60)
        assert replica.process.poll() is None, replica.log.read_text()
        yield replica
    finally:
        replica.kill()


@contextmanager
def operated_plane(folder: Path, *, nodes: int = 3, **settings: Any) -> Iterator[ControlPlane]:
    """A control plane with fake nodes and an operator that leads; AssertionError in the end when it fell over."""
    with control_plane(folder / "plane", EVERYTHING) as plane:
        plane.apply_crd()
        plane.add_nodes(nodes)
        make_operator_namespace(plane)
        with operator(plane, folder / "operator.log", **QUICK, **settings) as replica:
            wait_for_leader(replica)
            yield plane
            assert not replica.surprise()


def make_operator_namespace(cluster: Cluster) -> None:
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    account = {"name": "rlvr-operator", "namespace": NAMESPACE}
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})


def wait_for_leader(*replicas: OperatorProcess, seconds: float = 30.0) -> OperatorProcess:
    """The one that leads."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        leaders = [replica for replica in replicas if replica.process.poll() is None and replica.is_leader()]
        assert len(leaders) <= 1, "two leaders"
        if leaders:
            return leaders[0]
        time.sleep(0.1)
    raise AssertionError(f"no leader within {seconds:.0f} s")
