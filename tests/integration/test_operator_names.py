"""Names of a job's pods as its own processes ask for them: a real CoreDNS on what the operator has made."""

import secrets
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubernetes_server import ControlPlane, find_assets, wait_until
from live_jobs import LiveJob
from object_store import free_ports
from operator_process import operated_plane

NO_ERROR, NO_SUCH_NAME = 0, 3


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with operated_plane(tmp_path_factory.mktemp("names")) as made:
        yield made


@dataclass(frozen=True)
class Names:
    """A name server."""

    port: int

    def ask(self, host: str) -> tuple[int, set[str]]:
        """The answer's code and the addresses in it; RFC 1035, section 4."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wire:
            wire.settimeout(2.0)
            wire.sendto(question(host), ("127.0.0.1", self.port))
            return answer(wire.recv(4096))

    def find(self, host: str) -> set[str]:
        return self.ask(host)[1]

    def is_up(self) -> bool:
        try:
            return self.ask("kubernetes.default.svc.cluster.local")[0] == NO_ERROR
        except OSError:
            return False


def question(host: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
    header = struct.pack(">HHHHHH", secrets.randbelow(1 << 16), 0x0100, 1, 0, 0, 0)
    return header + labels + b"\0" + struct.pack(">HH", 1, 1)


def answer(message: bytes) -> tuple[int, set[str]]:
    _, flags, _, count, _, _ = struct.unpack(">HHHHHH", message[:12])
    place, found = skipped(message, 12) + 4, set()
    for _ in range(count):
        place = skipped(message, place)
        kind, _, _, length = struct.unpack(">HHIH", message[place : place + 10])
        if kind == 1:
            found.add(socket.inet_ntoa(message[place + 10 : place + 14]))
        place += 10 + length
    return flags & 15, found


def skipped(message: bytes, place: int) -> int:
    """Behind the name that begins there."""
    while message[place]:
        if message[place] >= 0xC0:
            return place + 2
        place += message[place] + 1
    return place + 1


@pytest.fixture(scope="module")
def names(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    assets = find_assets("coredns")
    if assets is None:
        pytest.skip("no coredns in KUBEBUILDER_ASSETS: put CoreDNS's binary beside kube-apiserver")
    (port,), folder = free_ports(1), tmp_path_factory.mktemp("coredns")
    cluster = f"kubernetes cluster.local {{\n kubeconfig {plane.kubeconfig}\n ttl 0\n }}"
    (folder / "Corefile").write_text(f".:{port} {{\n bind 127.0.0.1\n errors\n {cluster}\n}}\n")
    with (folder / "log").open("wb") as log:
        command = [str(assets / "coredns"), "-conf", str(folder / "Corefile")]
        process = subprocess.Popen(command, stdout=log, stderr=log, process_group=plane.group)
    try:
        found = Names(port)
        wait_until(found.is_up, f"CoreDNS answers: {Path(folder / 'log').read_text()}")
        yield found
    finally:
        process.kill()
        process.wait()


def address(job: LiveJob, pod: str) -> set[str]:
    return {job.pods()[pod]["status"]["podIP"]}


def test_every_pod_is_found_by_the_name_that_others_are_told(plane: ControlPlane, names: Names) -> None:
    job = LiveJob(plane, rollout={"replicas": 2}).reaches("Running")
    places = {"learner-0": "sums-learner-0-a0", "reward-0": "sums-reward-0-a0"}
    places |= {f"rollout-{index}": f"sums-rollout-{index}-a0" for index in range(2)}

    for place, pod in places.items():
        host = f"{place}.sums.{job.home}.svc.cluster.local"
        job.waits(lambda host=host, pod=pod: names.find(host) == address(job, pod), f"{host} is {pod}")
    assert names.ask(f"rollout-2.sums.{job.home}.svc.cluster.local")[0] == NO_SUCH_NAME


def test_a_pod_that_is_not_ready_has_its_name_for_roles_wait_for_each_other(plane: ControlPlane, names: Names) -> None:
    job = LiveJob(plane).reaches("Running")
    host = f"reward-0.sums.{job.home}.svc.cluster.local"
    job.write("sums-reward-0-a0", conditions=[{"type": "Ready", "status": "False"}])
    job.waits(lambda: job.condition("RewardReady").get("status") == "False", "the reward pod is not ready")
    time.sleep(2.0)

    assert names.find(host) == address(job, "sums-reward-0-a0")


def test_the_name_moves_to_the_pod_of_the_next_attempt(plane: ControlPlane, names: Names) -> None:
    job = LiveJob(plane).reaches("Running")
    host = f"learner-0.sums.{job.home}.svc.cluster.local"
    job.waits(lambda: names.find(host) == address(job, "sums-learner-0-a0"), "the first attempt has the name")
    job.end("sums-learner-0-a0", 75)
    job.waits(lambda: set(job.pods("learner")) == {"sums-learner-0-a1"}, "the next attempt is there alone")

    job.waits(lambda: names.find(host) == address(job, "sums-learner-0-a1"), "the name has moved")


def test_jobs_do_not_answer_for_each_other(plane: ControlPlane, names: Names) -> None:
    one, two = LiveJob(plane).reaches("Running"), LiveJob(plane).reaches("Running")
    hosts = {job: f"learner-0.sums.{job.home}.svc.cluster.local" for job in (one, two)}

    for job, host in hosts.items():
        job.waits(lambda job=job, host=host: names.find(host) == address(job, "sums-learner-0-a0"), f"{host} is known")
    assert names.find(hosts[one]).isdisjoint(names.find(hosts[two]))
