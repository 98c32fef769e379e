"""What `rlvr` says when a cluster cannot be used: the value, the reason, the way out; never a traceback."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import a_job_dict
from fake_kubelet import NODE, a_fake_kubelet
from kubernetes_server import ControlPlane, control_plane, wait_until
from rlvr_api.contract import EXIT_INVALID

RLVR = Path(sys.executable).with_name("rlvr")
LOGS = {
    "test-learner-0-a2/learner": "step 1\nstep 2\nstep 3\nstep 4\n",
    "test-learner-0-a2/coordinator": "asked\nanswered\n",
    "test-rollout-0-a1/agent": "routable\n" * 4000,
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server of our own that does not know RLVRJobs until `plane` is asked for."""
    with control_plane(tmp_path_factory.mktemp("bare")) as own:
        yield own


@pytest.fixture(scope="module")
def plane(bare: ControlPlane) -> ControlPlane:
    """The same with the CRD and a job named `test` in the namespace `default`."""
    bare.apply_crd()
    bare.apply(a_job_dict())
    return bare


def rlvr(kubeconfig: Path | str, *arguments: str, code: int = 1) -> str:
    """What `rlvr` says on standard error."""
    return run(kubeconfig, *arguments, code=code).stderr


def run(kubeconfig: Path | str, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [str(RLVR), *arguments, "--kubeconfig", str(kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr
    assert done.returncode == code, (command, done.stdout, done.stderr)
    return done


def changed_kubeconfig(plane: ControlPlane, path: Path, **cluster: Any) -> Path:
    config = json.loads(plane.kubeconfig.read_text())
    config["clusters"][0]["cluster"] |= cluster
    path.write_text(json.dumps(config))
    return path


def test_a_cluster_without_the_crd_says_how_to_install_it(bare: ControlPlane) -> None:
    assert rlvr(bare.kubeconfig, "list") == (
        "error: this cluster does not know RLVRJobs (rlvr.dev/v1alpha1): install the operator's CRD with "
        "`kubectl apply --server-side -f crds/rlvrjobs.rlvr.dev.yaml`, or choose another context with --context.\n"
    )


def test_no_kubeconfig_says_where_it_was_looked_for() -> None:
    assert rlvr("/nowhere", "list", code=EXIT_INVALID) == (
        "error: there is no kubeconfig at /nowhere: give one with --kubeconfig FILE, or set KUBECONFIG to its path.\n"
    )


def test_a_client_that_is_not_installed_is_named_with_the_command_that_installs_it() -> None:
    code = (
        "import sys; sys.modules['kubernetes'] = None; from rlvr_trainer.cli.main import main; sys.exit(main(['list']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "speaking to a cluster needs it: pip install 'rlvr-operator[cluster]'." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_context_that_is_not_there_leads_to_those_that_are(plane: ControlPlane) -> None:
    said = rlvr(plane.kubeconfig, "list", "--context", "prod", code=EXIT_INVALID)

    assert said == f"error: context 'prod' is not in the kubeconfig {plane.kubeconfig}: there is test.\n"


def test_a_server_that_is_not_there_is_named_with_the_reason(plane: ControlPlane, tmp_path: Path) -> None:
    said = rlvr(changed_kubeconfig(plane, tmp_path / "c", server="https://127.0.0.1:1"), "list")

    assert said.startswith("error: cannot reach the API server at https://127.0.0.1:1: ")
    assert "Connection refused. See whether the cluster is up" in said


def test_a_name_that_does_not_resolve_is_named(plane: ControlPlane, tmp_path: Path) -> None:
    said = rlvr(changed_kubeconfig(plane, tmp_path / "c", server="https://no-such-host.invalid:6443"), "list")

    assert "cannot reach the API server at https://no-such-host.invalid:6443" in said


def test_a_certificate_that_is_not_trusted_is_not_an_outage(plane: ControlPlane, tmp_path: Path) -> None:
    config = json.loads(plane.kubeconfig.read_text())
    del config["clusters"][0]["cluster"]["certificate-authority"]
    (tmp_path / "c").write_text(json.dumps(config))

    said = rlvr(tmp_path / "c", "list")

    assert f"the certificate of the API server at {plane.url} is not trusted" in said
    assert "certificate-authority" in said


def test_a_stranger_is_asked_to_log_in(plane: ControlPlane, tmp_path: Path) -> None:
    config = json.loads(plane.kubeconfig.read_text())
    config["users"][0]["user"]["token"] = "expired"
    (tmp_path / "c").write_text(json.dumps(config))

    assert "does not know who you are (401): log in to the cluster again" in rlvr(tmp_path / "c", "list")


def test_a_role_that_does_not_suffice_is_told_verb_and_resource(plane: ControlPlane, tmp_path: Path) -> None:
    nobody, path = plane.kubeconfig_of("nobody"), tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(a_job_dict()))

    assert rlvr(nobody, "list").startswith(
        "error: nobody may not list rlvrjobs.rlvr.dev in namespace default: ask for a Role with that verb and resource"
    )
    assert "nobody may not list rlvrjobs.rlvr.dev in all namespaces" in rlvr(nobody, "list", "-A")
    assert "nobody may not get rlvrjobs.rlvr.dev in namespace default" in rlvr(nobody, "submit", str(path))


def test_events_that_may_not_be_listed_do_not_hide_the_rest(plane: ControlPlane) -> None:
    plane.kubectl("create", "role", "reader", "--verb=get,list", "--resource=rlvrjobs.rlvr.dev")
    plane.kubectl("create", "rolebinding", "reader", "--role=reader", "--user=nobody")
    try:
        text = run(plane.kubeconfig_of("nobody"), "status", "test").stdout
    finally:
        plane.kubectl("delete", "role,rolebinding", "reader")

    assert text.startswith("Job     default/test")
    assert text.endswith("Events: your role may not list them.\n")


def test_a_job_that_is_not_there_leads_to_one_that_is(plane: ControlPlane) -> None:
    for verb in ("status", "watch", "logs", "suspend", "resume", "delete"):
        assert rlvr(plane.kubeconfig, verb, "tset") == (
            "error: there is no job 'tset' in namespace default: did you mean test?\n"
        )
    assert "it is in namespace default, add -n default." in rlvr(
        plane.kubeconfig, "status", "test", "-n", "kube-system"
    )


def test_a_namespace_that_is_not_there_is_named(plane: ControlPlane, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(a_job_dict()))

    assert rlvr(plane.kubeconfig, "submit", str(path), "-n", "nowhere") == (
        "error: there is no namespace nowhere: make it with `kubectl create namespace nowhere`, or choose another with "
        "-n.\n"
    )


def test_a_policy_that_says_no_is_quoted(plane: ControlPlane, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(a_job_dict(training={"steps": 7, "promptsPerStep": 4})))
    plane.apply(*a_policy("object.spec.training.steps != 7", "seven is for lunch"))
    try:
        wait_until(lambda: "lunch" in try_to(plane, "submit", str(path), "-n", "kube-public").stderr, "policy holds")
        said = rlvr(plane.kubeconfig, "submit", str(path), "-n", "kube-public", code=EXIT_INVALID)
    finally:
        plane.kubectl("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", "lunch")

    assert said.splitlines()[0] == f"error: {path} is refused by the API server: 1 problem"
    assert "seven is for lunch" in said


def try_to(plane: ControlPlane, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(RLVR), *arguments, "--kubeconfig", str(plane.kubeconfig)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def a_policy(rule: str, message: str) -> tuple[dict[str, Any], dict[str, Any]]:
    api, metadata = "admissionregistration.k8s.io/v1", {"name": "lunch"}
    what = {"apiGroups": ["rlvr.dev"], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["rlvrjobs"]}
    spec = {
        "matchConstraints": {"resourceRules": [what]},
        "validations": [{"expression": rule, "message": message}],
    }
    binding = {"policyName": "lunch", "validationActions": ["Deny"]}
    return (
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": metadata, "spec": spec},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": metadata, "spec": binding},
    )


def test_watching_survives_an_api_server_that_dies_and_comes_back(plane: ControlPlane, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [str(RLVR), "watch", "test", "--kubeconfig", str(plane.kubeconfig)]
    with out.open("w") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as watching:
        try:
            wait_until(lambda: "test  New" in out.read_text(), "watching")
            plane.kill("kube-apiserver")
            wait_until(lambda: "cannot reach the API server" in out.read_text(), "the outage is said")
            plane.start("kube-apiserver")
            plane.wait_ready()
            wait_until(lambda: "The API server is back." in out.read_text(), "the end of the outage is said", 30)
            patch = json.dumps({"status": {"phase": "Succeeded", "observedGeneration": 1}})
            plane.kubectl("patch", "rlvr", "test", "--subresource=status", "--type=merge", "-p", patch)
            assert watching.wait(20) == 0
        finally:
            watching.kill()

    lines = [line[10:] for line in out.read_text().splitlines()]
    assert len(lines) == 4
    assert lines[-1] == "test  Succeeded"


@pytest.fixture(scope="module")
def with_pods(plane: ControlPlane) -> ControlPlane:
    """Pods of the job `test` on the fake node."""
    pods = [a_pod(name, containers) for name, containers in PODS.items()]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    plane.apply(account, *pods)
    running = {"status": {"phase": "Running", "containerStatuses": []}}
    for name in PODS:
        plane.kubectl("patch", "pod", name, "--subresource=status", "--type=merge", "-p", json.dumps(running))
    return plane


PODS = {
    "test-learner-0-a1": ("learner", "coordinator"),
    "test-learner-0-a2": ("learner", "coordinator"),
    "test-rollout-0-a1": ("engine", "agent"),
}


def a_pod(name: str, containers: tuple[str, ...]) -> dict[str, Any]:
    job, role, index, attempt = name.split("-")
    labels = {"job": job, "role": role, "index": index, "attempt": attempt[1:]}
    metadata = {"name": name, "namespace": "default", "labels": {f"rlvr.dev/{key}": labels[key] for key in labels}}
    spec = {"nodeName": NODE, "containers": [{"name": container, "image": "trainer"} for container in containers]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def test_a_log_is_that_of_the_role_s_newest_pod(with_pods: ControlPlane) -> None:
    with a_fake_kubelet(with_pods, LOGS) as kubelet:
        assert run(with_pods.kubeconfig, "logs", "test").stdout == LOGS["test-learner-0-a2/learner"]
        previous = run(with_pods.kubeconfig, "logs", "test", "--role", "coordinator", "--previous")
        assert previous.stdout == "asked\nanswered\n"
        assert kubelet.queries[-1]["previous"] == "true"

        read_to_the_first_line(with_pods, "test", "--role", "rollout")
        followed(with_pods, kubelet.goes_on)


def read_to_the_first_line(plane: ControlPlane, *arguments: str) -> None:
    """`rlvr logs ... | head -n 1` ends without a complaint."""
    command = [str(RLVR), "logs", *arguments, "--kubeconfig", str(plane.kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reading:
        assert reading.stdout is not None
        assert reading.stderr is not None
        assert reading.stdout.readline() == "routable\n"
        reading.stdout.close()
        assert (reading.wait(20), reading.stderr.read()) == (0, "")


def followed(plane: ControlPlane, goes_on: threading.Event) -> None:
    """A followed log is printed as it comes."""
    command = [str(RLVR), "logs", "test", "-f", "--kubeconfig", str(plane.kubeconfig)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert [following.stdout.readline() for _ in range(2)] == ["step 1\n", "step 2\n"]
        goes_on.set()
        assert following.communicate(timeout=20)[0] == "step 3\nstep 4\n"


def test_a_log_that_cannot_be_had_says_why(with_pods: ControlPlane) -> None:
    assert "no pod learner 3 now: there is learner 0, rollout 0" in rlvr(
        with_pods.kubeconfig, "logs", "test", "--index", "3"
    )
    assert "has no container 'vllm': there is engine, agent" in rlvr(
        with_pods.kubeconfig, "logs", "test", "--role", "rollout", "-c", "vllm"
    )
    assert "no log of pod test-learner-0-a2" in rlvr(with_pods.kubeconfig, "logs", "test")
