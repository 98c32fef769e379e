"""The operator as a process against a real API server: its job, its replicas, and every way to lose the server.

Times are short here (`QUICK`), so that an outage takes seconds.
"""

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernetes_server import ControlPlane, control_plane, wait_until
from operator_process import (
    QUICK,
    OperatorProcess,
    make_operator_namespace,
    operator,
    start_operator,
    wait_for_leader,
)

CHILDREN = "configmaps,services,networkpolicies,poddisruptionbudgets"
RENEW_DEADLINE = float(QUICK["RENEW_DEADLINE"])
LEASE_DURATION = float(QUICK["LEASE_DURATION"])


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server that may be killed and frozen; no scheduler, so pods stay Pending, and nothing names them yet."""
    with control_plane(tmp_path_factory.mktemp("operator") / "plane") as made:
        made.apply_crd()
        make_operator_namespace(made)
        yield made


@pytest.fixture
def home(plane: ControlPlane) -> str:
    return plane.make_namespace()


@dataclass
class Standing:
    """The replica that most tests share."""

    plane: ControlPlane
    log: Path
    process: OperatorProcess | None = None

    def present(self) -> OperatorProcess:
        if self.process is None:
            self.process = start_operator(self.plane, self.log, **QUICK)
        wait_for_leader(self.process)
        wait_until(self.process.is_ready, "the operator is ready")
        return self.process

    def leave(self) -> None:
        if self.process is not None:
            self.process.stop()
            self.process = None


@pytest.fixture(scope="module")
def standing(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    shared = Standing(plane, tmp_path_factory.mktemp("log") / "operator.log")
    yield shared
    shared.leave()


@pytest.fixture
def replica(standing: Standing) -> OperatorProcess:
    return standing.present()


@pytest.fixture
def nobody(standing: Standing) -> None:
    """No replica is there yet."""
    standing.leave()


def apply_job(plane: ControlPlane, home: str, name: str = "sums") -> None:
    manifest = yaml.safe_load(Path("examples/arithmetic-cpu.yaml").read_text())
    manifest["metadata"] = {"name": name, "namespace": home}
    plane.apply(manifest)


def pods(plane: ControlPlane, home: str) -> dict[str, str]:
    """Uid by name."""
    return {it["metadata"]["name"]: it["metadata"]["uid"] for it in plane.get("pods", "-n", home)["items"]}


def status(plane: ControlPlane, home: str, name: str = "sums") -> dict[str, Any]:
    found: dict[str, Any] = plane.get("rlvrjob", name, "-n", home).get("status", {})
    return found


def is_started(plane: ControlPlane, home: str, name: str = "sums") -> bool:
    return bool(status(plane, home, name).get("phase")) and any(it.startswith(name) for it in pods(plane, home))


def wait_for_start(plane: ControlPlane, home: str, name: str = "sums", *, seconds: float = 20.0) -> None:
    wait_until(lambda: is_started(plane, home, name), f"{name} has pods and a status", seconds)


def test_a_job_gets_its_pods_children_and_status_and_then_nothing_more_is_written(
    plane: ControlPlane, home: str, replica: OperatorProcess
) -> None:
    apply_job(plane, home)
    wait_for_start(plane, home)
    assert set(pods(plane, home)) == {f"sums-{role}-0-a0" for role in ("learner", "rollout", "reward")}
    assert {it["kind"] for it in plane.get(CHILDREN, "-n", home)["items"]} == {"ConfigMap", "NetworkPolicy"}

    time.sleep(2.0)
    written = replica.writes()
    time.sleep(5.0)
    assert replica.writes() == written
    assert replica.metric("rlvr_operator_reconcile_errors_total") is None


def test_a_restarted_operator_finds_everything_and_writes_nothing(
    plane: ControlPlane, home: str, standing: Standing, tmp_path: Path
) -> None:
    standing.present()
    apply_job(plane, home)
    wait_for_start(plane, home)
    time.sleep(1.0)
    before = pods(plane, home)
    standing.leave()
    with operator(plane, tmp_path / "again.log", **QUICK) as again:
        wait_for_leader(again)
        wait_until(lambda: (again.metric("rlvr_operator_reconcile_seconds_count") or 0) > 0, "the job was looked at")
        time.sleep(1.0)

        assert pods(plane, home) == before
        assert again.writes() == 0


def test_a_deleted_pod_comes_back(plane: ControlPlane, home: str, replica: OperatorProcess) -> None:
    apply_job(plane, home)
    wait_for_start(plane, home)
    before = pods(plane, home)
    plane.kubectl("delete", "pod", "sums-reward-0-a0", "-n", home, "--grace-period=0", "--force")

    wait_until(lambda: len(pods(plane, home)) == 3 and pods(plane, home) != before, "there are three pods again")


def test_a_status_is_right_although_somebody_edits_the_job_all_the_time(
    plane: ControlPlane, home: str, replica: OperatorProcess
) -> None:
    apply_job(plane, home)
    for number in range(25):
        plane.kubectl("annotate", "rlvrjob", "sums", "-n", home, "--overwrite", f"edit={number}")
    wait_for_start(plane, home)

    assert plane.get("rlvrjob", "sums", "-n", home)["metadata"]["annotations"]["edit"] == "24"
    wait_until(lambda: status(plane, home).get("observedGeneration") == 1, "the status is about the spec")


def test_a_quota_is_told_in_the_servers_words_and_the_pods_come_when_it_is_lifted(
    plane: ControlPlane, home: str, replica: OperatorProcess
) -> None:
    hard = {"pods": "1"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": home}}
    plane.apply(quota | {"spec": {"hard": hard}})
    patch = json.dumps({"status": {"hard": hard, "used": {"pods": "1"}}})
    plane.kubectl("patch", "quota", "few", "-n", home, "--subresource=status", "--type=merge", "-p", patch)
    time.sleep(1.0)
    apply_job(plane, home)
    wait_until(lambda: "exceeded quota" in json.dumps(status(plane, home)), "the status names the quota")

    plane.kubectl("delete", "quota", "few", "-n", home)
    wait_until(lambda: len(pods(plane, home)) == 3, "all pods are there", 60)


def test_an_api_server_that_is_killed_costs_nothing_and_all_is_right_soon_after_its_return(
    plane: ControlPlane, home: str, replica: OperatorProcess
) -> None:
    apply_job(plane, home)
    wait_for_start(plane, home)
    time.sleep(1.0)
    cpu, lines, away = replica.cpu_seconds(), len(replica.lines()), 12.0
    plane.kill("kube-apiserver")
    began = time.monotonic()
    wait_until(lambda: not replica.is_leader(), "leadership is given up", RENEW_DEADLINE + 1.0)
    wait_until(lambda: replica.ask("/readyz")[0] == 503, "it is not ready", 12.0)
    time.sleep(max(0.0, began + away - time.monotonic()))

    assert replica.ask("/livez")[0] == 200, "a restart would not help"
    assert (replica.cpu_seconds() - cpu) / away < 0.05
    assert len(replica.lines()) - lines <= 8, replica.lines()[lines:]
    plane.start("kube-apiserver")
    plane.wait_ready()
    apply_job(plane, home, "later")
    wait_for_start(plane, home, "later", seconds=10.0)
    wait_until(replica.is_ready, "it is ready again", 10.0)


def test_a_frozen_api_server_is_noticed_and_leadership_given_up_before_another_could_take_it(
    plane: ControlPlane, home: str, replica: OperatorProcess
) -> None:
    plane.freeze("kube-apiserver")
    began = time.monotonic()
    try:
        wait_until(lambda: not replica.is_leader(), "leadership is given up")
        assert time.monotonic() - began < LEASE_DURATION
        wait_until(lambda: replica.ask("/readyz")[0] == 503, "it is not ready", 15.0)
    finally:
        plane.thaw("kube-apiserver")
    wait_for_leader(replica, seconds=10.0)
    apply_job(plane, home)
    wait_for_start(plane, home, seconds=10.0)
    wait_until(replica.is_ready, "it is ready again", 10.0)


def test_what_happened_while_nobody_could_watch_is_found_out(
    plane: ControlPlane, home: str, replica: OperatorProcess
) -> None:
    """The server forgets the versions that the operator knows: 410, a new list, and deletions that nobody announces."""
    for name in ("stays", "goes"):
        apply_job(plane, home, name)
        wait_for_start(plane, home, name)
    replica.process.send_signal(signal.SIGSTOP)
    plane.kubectl("delete", "rlvrjob", "goes", "-n", home, "--wait=false")
    plane.kubectl("patch", "rlvrjob", "goes", "-n", home, "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    plane.kubectl("delete", "pods", "-n", home, "--all", "--grace-period=0", "--force")
    plane.kill("kube-apiserver")
    plane.start("kube-apiserver")
    plane.wait_ready()
    replica.process.send_signal(signal.SIGCONT)

    wait_until(lambda: len(pods(plane, home)) == 3, "the pods of the job that stays are there again")
    time.sleep(3.0)
    assert all(name.startswith("stays-") for name in pods(plane, home)), "nothing is done for a job that is gone"


def test_of_two_replicas_one_acts_and_the_other_takes_over_when_it_is_killed(
    plane: ControlPlane, home: str, nobody: None, tmp_path: Path
) -> None:
    with operator(plane, tmp_path / "a.log", **QUICK) as a, operator(plane, tmp_path / "b.log", **QUICK) as b:
        leader = wait_for_leader(a, b)
        other = b if leader is a else a
        apply_job(plane, home, "first")
        wait_for_start(plane, home, "first")
        assert (leader.writes() > 0, other.writes()) == (True, 0)

        leader.kill()
        began = time.monotonic()
        wait_for_leader(other, seconds=LEASE_DURATION + 2.0)
        assert time.monotonic() - began > 0.5, "not before the lease has run out"
        apply_job(plane, home, "second")
        wait_for_start(plane, home, "second")


def test_a_leader_that_is_asked_to_stop_hands_over_at_once(plane: ControlPlane, nobody: None, tmp_path: Path) -> None:
    with operator(plane, tmp_path / "a.log", **QUICK) as a, operator(plane, tmp_path / "b.log", **QUICK) as b:
        leader = wait_for_leader(a, b)
        other = b if leader is a else a
        asked_at = time.monotonic()
        assert leader.stop() == 0
        stopped_after = time.monotonic() - asked_at
        wait_for_leader(other, seconds=1.5)

        assert stopped_after < 5.0
        assert time.monotonic() - asked_at < stopped_after + 1.5


def test_without_the_definition_it_waits_and_says_so(tmp_path: Path) -> None:
    with control_plane(tmp_path / "bare") as bare:
        make_operator_namespace(bare)
        log = tmp_path / "operator.log"
        replica = start_operator(bare, log, **QUICK)
        try:
            wait_until(lambda: "apply crds/rlvrjobs.rlvr.dev.yaml" in log.read_text(), "it says what is missing")
            bare.apply_crd()
            wait_until(replica.is_ready, "it is ready", 15.0)
        finally:
            replica.kill()
