"""A real Kubernetes control plane for tests, without a node: etcd and kube-apiserver on free ports, more when asked.

    def test_something(kubernetes: Cluster, namespace: str) -> None:      # fixtures: one server a session, CRD applied
        kubernetes.kubectl("apply", "-f", "-", "-n", namespace, stdin=text)

    with control_plane(folder, EVERYTHING, gang=True) as plane:           # one of one's own, to kill and freeze
        plane.apply_crd()
        plane.add_nodes(20)                                               # kwok: pods are Ready at once
        plane.kill("kube-apiserver"); plane.start("kube-apiserver"); plane.wait_ready()
        plane.freeze("kube-apiserver"); plane.thaw("kube-apiserver")      # connections stay open
        process_environment = {"KUBECONFIG": str(plane.kubeconfig)}

Binaries come from the folder KUBEBUILDER_ASSETS (as with envtest; kwok too where it is used), or the fixtures take the
cluster of RLVR_TEST_KUBECONFIG; without either they skip.  Everything dies with this process, however it ends.
Pods are admitted and scheduled but run nowhere; without kube-controller-manager nothing is garbage-collected.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from object_store import free_ports
from rlvr_api.contract import GROUP, PLURAL
from rlvr_api.schema import CRD_FILE

API_SERVER: Final = ("etcd", "kube-apiserver")
CONTROLLERS: Final = (*API_SERVER, "kube-controller-manager")
EVERYTHING: Final = (*CONTROLLERS, "kube-scheduler", "kwok")
MISSING: Final = (
    "no API server: set KUBEBUILDER_ASSETS to a folder with etcd, kube-apiserver and kubectl "
    "(`setup-envtest use -p path`), or RLVR_TEST_KUBECONFIG to the kubeconfig of a cluster"
)
USERS: Final = {
    "admin": ("admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "nobody": ("nobody", "people"),
}
"""Name -> user and group.  `nobody` may do nothing."""
_GANG: Final = "--feature-gates=GenericWorkload=true,GangScheduling=true"
_START_SECONDS: Final = 150.0
_GUARD: Final = 'cat >/dev/null; setsid sh -c "sleep 1; rm -rf \\"$0\\"" "$0" & kill -KILL 0'
"""Waits for the end of its standard input, which is the end of this process, and kills its whole process group."""


@dataclass(frozen=True)
class Cluster:
    """A cluster to which `kubeconfig` leads with every right."""

    kubeconfig: Path
    kubectl_path: str

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl prints; AssertionError with its complaint when it fails."""
        done = self.try_kubectl(*arguments, stdin=stdin)
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def try_kubectl(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [self.kubectl_path, f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=120, check=False)

    def get(self, *arguments: str) -> dict[str, Any]:
        """`kubectl get ... -o json`."""
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def apply(self, *manifests: dict[str, Any]) -> None:
        """`kubectl apply --server-side` of objects."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=as_list(manifests))

    def apply_crd(self) -> None:
        """Make RLVRJobs known; returns when they can be created."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRD_FILE))
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", f"{PLURAL}.{GROUP}")
        wait_until(lambda: self.try_kubectl("get", PLURAL, "-A").returncode == 0, "RLVRJobs are served")

    def make_namespace(self, *, security: str = "") -> str:
        """A new namespace with a default ServiceAccount; `security` is a Pod Security Standard to enforce."""
        name = f"test-{uuid.uuid4().hex[:10]}"
        labels = {"pod-security.kubernetes.io/enforce": security} if security else {}
        account = {"name": "default", "namespace": name}
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        )
        return name

    def add_nodes(self, count: int, *, pods: int = 1000, gpus: int = 0, first: int = 0) -> None:
        """Nodes that kwok keeps Ready, with room for `pods` pods each."""
        room = {"cpu": "10000", "memory": "100Ti", "ephemeral-storage": "100Ti", "pods": str(pods)}
        room |= {"nvidia.com/gpu": str(gpus)} if gpus else {}
        nodes = [_node(f"fake-{index}", room) for index in range(first, first + count)]
        self.kubectl("create", "-f", "-", stdin=as_list(nodes))


@dataclass(frozen=True)
class ControlPlane(Cluster):
    """A cluster whose processes are ours."""

    folder: Path
    assets: Path
    ports: tuple[int, ...]
    gang: bool
    group: int
    """Process group of all components."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.ports[0]}"

    def kubeconfig_of(self, user: str, *, server: str = "") -> Path:
        """Kubeconfig of one of USERS."""
        path = self.folder / f"{user}{'-elsewhere' if server else ''}.kubeconfig"
        path.write_text(json.dumps(self._kubeconfig(user, server or self.url)))
        return path

    def start(self, *names: str) -> None:
        """Start components, also again after `kill`; does not wait."""
        for name in names:
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    self._command(name),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    process_group=self.group,
                )

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Send `how` and wait for the end of the process."""
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait(30)

    def freeze(self, name: str) -> None:
        """Stop a component as it is: its connections stay open and nothing is answered."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    def wait_ready(self, seconds: float = _START_SECONDS) -> None:
        """Until the API server says it is ready."""
        wait_until(self.is_ready, f"the API server is ready; its log is {self.folder}/kube-apiserver.log", seconds)

    def is_ready(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.folder / "server.crt"))
        request = urllib.request.Request(f"{self.url}/readyz", headers={"Authorization": "Bearer admin"})
        try:
            with urllib.request.urlopen(request, context=context, timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)
        for process in self.processes.values():
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kubeconfig(self, user: str, server: str) -> dict[str, Any]:
        cluster = {"server": server, "certificate-authority": str(self.folder / "server.crt")}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": user}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
        }

    def _command(self, name: str) -> list[str]:
        flags = {"etcd": self._etcd, "kube-apiserver": self._api_server, "kwok": self._kwok}.get(name, self._controller)
        gates = [_GANG] if self.gang and name in {"kube-apiserver", "kube-scheduler"} else []
        return [str(self.assets / name), *flags(name), *gates]

    def _etcd(self, _name: str) -> list[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in self.ports[1:3])
        return [
            f"--data-dir={self.folder}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            "--unsafe-no-fsync",
            "--quota-backend-bytes=4294967296",
            "--log-level=warn",
        ]

    def _api_server(self, _name: str) -> list[str]:
        runtime = ["--runtime-config=scheduling.k8s.io/v1alpha2=true"] if self.gang else []
        return [
            f"--etcd-servers=http://127.0.0.1:{self.ports[1]}",
            f"--secure-port={self.ports[0]}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--tls-cert-file={self.folder}/server.crt",
            f"--tls-private-key-file={self.folder}/server.key",
            f"--client-ca-file={self.folder}/server.crt",
            f"--token-auth-file={self.folder}/tokens.csv",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={self.folder}/server.key",
            f"--service-account-signing-key-file={self.folder}/server.key",
            "--allow-privileged=true",
            "--profiling=false",
            *runtime,
        ]

    def _controller(self, name: str) -> list[str]:
        port = self.ports[3] if name == "kube-scheduler" else self.ports[4]
        signs = [
            f"--root-ca-file={self.folder}/server.crt",
            f"--service-account-private-key-file={self.folder}/server.key",
            "--use-service-account-credentials",
            "--node-monitor-grace-period=20s",
        ]
        return [
            f"--kubeconfig={self.kubeconfig_of(name)}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={self.folder}",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            *(signs if name == "kube-controller-manager" else []),
        ]

    def _kwok(self, _name: str) -> list[str]:
        return [
            f"--kubeconfig={self.kubeconfig}",
            f"--config={Path(__file__).with_name('kwok.yaml')}",
            "--cidr=10.200.0.0/16",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=40",
        ]


def as_list(manifests: Sequence[dict[str, Any]]) -> str:
    """Text of a List for `kubectl -f -`."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})


def find_assets(*names: str) -> Path | None:
    """The folder KUBEBUILDER_ASSETS when it holds all of `names`."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nowhere"))
    return folder if all((folder / name).exists() for name in names) else None


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """AssertionError naming `what` when it does not hold within `seconds`."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


@contextmanager
def control_plane(
    folder: Path, components: Sequence[str] = API_SERVER, *, gang: bool = False
) -> Iterator[ControlPlane]:
    """Running components in the new folder `folder`; skips the test when a binary is missing.

    `gang` turns on the gang scheduling of Kubernetes itself (scheduling.k8s.io PodGroups, alpha).
    """
    assets = find_assets(*components, "kubectl")
    if assets is None:
        pytest.skip(MISSING)
    folder.mkdir(parents=True, exist_ok=True)
    _write_identities(folder)
    with subprocess.Popen(["sh", "-c", _GUARD, str(folder)], stdin=subprocess.PIPE, process_group=0) as guard:
        plane = ControlPlane(
            kubeconfig=folder / "admin.kubeconfig",
            kubectl_path=str(assets / "kubectl"),
            folder=folder,
            assets=assets,
            ports=tuple(free_ports(5)),
            gang=gang,
            group=guard.pid,
        )
        try:
            _bring_up(plane, components)
            yield plane
        finally:
            plane.close()


def _bring_up(plane: ControlPlane, components: Sequence[str]) -> None:
    plane.kubeconfig_of("admin")
    plane.start(*API_SERVER)
    plane.wait_ready()
    plane.start(*(name for name in components if name not in API_SERVER))


def _write_identities(folder: Path) -> None:
    """One certificate for the server, whose key also signs ServiceAccount tokens; people have tokens."""
    key, certificate = str(folder / "server.key"), str(folder / "server.crt")
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=rlvr-test"]
    subprocess.run([*command, "-addext", names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    lines = (f'{name},{user},{name},"{group}"' for name, (user, group) in USERS.items())
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n")


def _node(name: str, room: dict[str, str]) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    metadata = {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": {},
        "status": {"capacity": room, "allocatable": room},
    }


@pytest.fixture(scope="session")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server that knows RLVRJobs, shared by the session: never kill it."""
    given = os.environ.get("RLVR_TEST_KUBECONFIG")
    if given:
        cluster = Cluster(kubeconfig=Path(given), kubectl_path=shutil.which("kubectl") or "kubectl")
        cluster.apply_crd()
        yield cluster
        return
    with control_plane(tmp_path_factory.mktemp("kubernetes")) as plane:
        plane.apply_crd()
        yield plane


@pytest.fixture
def namespace(kubernetes: Cluster) -> Iterator[str]:
    """A new namespace; what is in it goes with it, where a controller manager runs."""
    name = kubernetes.make_namespace()
    yield name
    kubernetes.kubectl("delete", "namespace", name, "--wait=false")
