"""The chart on a real API server, by both Helms: installed, changed, taken away; its roles are enough and not more.

Pods run nowhere (kwok says that they are ready); the operator is a process here that has its account's token.
"""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from charts import CHART, HELMS, NAMESPACE, RELEASE, run_helm
from kubernetes_server import EVERYTHING, ControlPlane, control_plane, wait_until
from live_jobs import LiveJob
from operator_process import QUICK, operator, wait_for_leader
from rlvr_api import contract

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
MAY = (
    "list rlvrjobs.rlvr.dev --all-namespaces",
    "patch rlvrjobs.rlvr.dev --subresource=status --all-namespaces",
    "update rlvrjobs.rlvr.dev --subresource=finalizers --all-namespaces",
    "create pods --all-namespaces",
    "watch nodes",
    f"update leases.coordination.k8s.io/{RELEASE} -n {NAMESPACE}",
    f"create serviceaccounts/{RELEASE} --subresource=token -n {NAMESPACE}",
)
MAY_NOT = (
    "get secrets --all-namespaces",
    "list secrets --all-namespaces",
    "create rlvrjobs.rlvr.dev --all-namespaces",
    "create pods --subresource=exec --all-namespaces",
    "update pods --all-namespaces",
    "delete nodes",
    f"update leases.coordination.k8s.io/another -n {NAMESPACE}",
    f"create serviceaccounts/default --subresource=token -n {NAMESPACE}",
    "create serviceaccounts --subresource=token --all-namespaces",
    "create leases.coordination.k8s.io -n default",
)


@dataclass(frozen=True)
class Installed:
    """A release on its own control plane."""

    plane: ControlPlane
    helm: str

    def run(self, *arguments: str | Path) -> str:
        done = run_helm(self.helm, *arguments, "--namespace", NAMESPACE, "--kubeconfig", self.plane.kubeconfig)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def upgrade(self, *options: str) -> str:
        return self.run("upgrade", "--install", RELEASE, CHART, "--wait", "--timeout", "120s", *options)

    def may(self, question: str, who: str = ACCOUNT) -> bool:
        return self.plane.try_kubectl("auth", "can-i", f"--as={who}", *question.split()).returncode == 0

    def deployment(self) -> dict[str, Any]:
        return self.plane.get("deployment", RELEASE, "-n", NAMESPACE)

    def as_the_account(self) -> ControlPlane:
        """The same API server, reached with the account's own token."""
        token = self.plane.kubectl("create", "token", RELEASE, "-n", NAMESPACE, "--duration=1h").strip()
        found = json.loads(self.plane.kubeconfig.read_text())
        found["users"][0]["user"] = {"token": token}
        path = self.plane.folder / "account.kubeconfig"
        path.write_text(json.dumps(found))
        return replace(self.plane, kubeconfig=path)


@pytest.fixture(scope="module", params=HELMS)
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """A release in a namespace that enforces the restricted standard."""
    with control_plane(tmp_path_factory.mktemp("chart") / "plane", EVERYTHING) as plane:
        plane.add_nodes(2)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
        made = Installed(plane, request.param)
        assert "kubectl get rlvrjobs --watch" in made.upgrade()
        yield made


def test_its_pods_are_admitted_where_the_restricted_standard_is_enforced(installed: Installed) -> None:
    assert installed.deployment()["status"]["readyReplicas"] == 2


def test_the_account_may_do_its_work_and_nothing_beside_it(installed: Installed) -> None:
    assert [it for it in MAY if not installed.may(it)] == []
    assert [it for it in MAY_NOT if installed.may(it)] == []


def test_people_get_rights_on_jobs_with_the_cluster_s_own_roles(installed: Installed) -> None:
    home = installed.plane.make_namespace()
    for role in ("view", "edit"):
        installed.plane.kubectl("create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}er", "-n", home)
    wait_until(lambda: installed.may(f"create rlvrjobs.rlvr.dev -n {home}", "editer"), "the roles are aggregated")

    assert installed.may(f"get rlvrjobs.rlvr.dev -n {home}", "viewer")
    assert not installed.may(f"create rlvrjobs.rlvr.dev -n {home}", "viewer")
    assert not installed.may(f"patch rlvrjobs.rlvr.dev --subresource=status -n {home}", "editer")


def test_a_job_lives_its_whole_life_with_the_account_s_rights(installed: Installed, tmp_path: Path) -> None:
    account = installed.as_the_account()
    with operator(account, tmp_path / "log", LEASE_NAME=RELEASE, **QUICK) as replica:
        wait_for_leader(replica)
        job = LiveJob(installed.plane).reaches("Running")
        job.edit(rollout={"replicas": 2})
        job.waits(lambda: len(job.pods("rollout")) == 2, "a second rollout is there")
        job.edit(suspend=True)
        job.reaches("Suspended")
        job.edit(suspend=False)
        job.reaches("Running")
        installed.plane.kubectl("delete", "rlvrjob", "sums", "-n", job.home, "--wait=false")
        job.waits(lambda: not job.is_there() and not job.pods(), "nothing is left")
        refused = {name: value for name, value in replica.metrics().items() if 'code="403"' in name}
        events = installed.plane.get("events", "-n", job.home)["items"]

    assert refused == {}, (tmp_path / "log").read_text()
    assert any(it["source"].get("component") or it["reportingComponent"] for it in events)


def test_without_an_operator_a_deleted_job_goes_when_its_finalizer_is_removed_as_the_guide_says(
    installed: Installed,
) -> None:
    job = LiveJob(installed.plane)
    change = json.dumps({"metadata": {"finalizers": [contract.FINALIZER]}})
    installed.plane.kubectl("patch", "rlvrjob", "sums", "-n", job.home, "--type=merge", "-p", change)
    installed.plane.kubectl("delete", "rlvrjob", "sums", "-n", job.home, "--wait=false")
    assert job.is_there()

    guide = Path("docs/guides/uninstall.md").read_text()
    command = re.search(r"kubectl (patch rlvrjob JOB .*)", guide)
    assert command is not None
    installed.plane.kubectl(*shlex.split(command[1].replace("JOB", "sums")), "-n", job.home)
    job.waits(lambda: not job.is_there(), "the job is gone")


def test_a_changed_value_changes_the_release_and_jobs_outlive_it(installed: Installed) -> None:
    job = LiveJob(installed.plane)
    installed.upgrade("--set", "replicas=3", "--set", "logLevel=DEBUG")
    assert installed.deployment()["status"]["readyReplicas"] == 3

    installed.run("uninstall", RELEASE, "--wait")
    assert installed.plane.try_kubectl("get", "deployment", RELEASE, "-n", NAMESPACE).returncode != 0
    assert job.is_there()

    installed.upgrade()
    assert job.is_there()
    assert installed.deployment()["status"]["readyReplicas"] == 2
