"""`rlvr` processes against a real API server: what each verb prints, and what each failure says."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import a_job_dict
from kubernetes_server import Cluster, wait_until
from rlvr_api.contract import EXIT_INVALID

RLVR = Path(sys.executable).with_name("rlvr")
STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "phase": "Starting",
    "message": "pod test-learner-0-a1 cannot pull image registry/trainer:v9: not found",
    "attempt": 1,
    "roles": {"learner": {"desired": 1}, "rollout": {"desired": 2, "ready": 1, "summary": "1/2"}},
    "progress": {"step": 3, "totalSteps": 60, "reward": 0.25},
}
Done = subprocess.CompletedProcess[str]


class Shell:
    """Runs `rlvr` as one user in one namespace."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.kubeconfig = str(cluster.kubeconfig)

    def __call__(self, verb: str, *arguments: str, code: int = 0, place: bool = True) -> Done:
        namespace = ("-n", self.namespace) if place else ()
        command = [str(RLVR), verb, *arguments, *namespace]
        done = subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, (command, done.stdout, done.stderr)
        return done

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": "/nowhere", "KUBECONFIG": self.kubeconfig}

    def job(self, name: str = "test") -> dict[str, Any]:
        return self.cluster.get("rlvr", name, "-n", self.namespace)

    def set_status(self, **status: Any) -> None:
        patch = json.dumps({"status": status})
        arguments = ("--subresource=status", "--type=merge", "-p", patch, "-n", self.namespace)
        self.cluster.kubectl("patch", "rlvr", "test", *arguments)


@pytest.fixture
def rlvr(kubernetes: Cluster, namespace: str) -> Shell:
    return Shell(kubernetes, namespace)


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    """File of a job named `test`."""
    return a_manifest(tmp_path)


def a_manifest(folder: Path, **sections: Any) -> str:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(a_job_dict(**sections), sort_keys=False))
    return str(path)


def test_a_job_is_submitted_left_alone_and_changed(rlvr: Shell, manifest: str) -> None:
    first = rlvr("submit", manifest).stdout
    assert first == (f"rlvrjob.rlvr.dev/test created\nFollow it with `rlvr watch test -n {rlvr.namespace}`.\n")
    assert rlvr("submit", manifest).stdout == "rlvrjob.rlvr.dev/test unchanged\n"
    assert rlvr("submit", manifest, "--set", "spec.rollout.replicas=2").stdout == "rlvrjob.rlvr.dev/test configured\n"
    assert rlvr.job()["spec"]["rollout"]["replicas"] == 2


def test_only_what_the_user_wrote_is_the_users(rlvr: Shell, manifest: str) -> None:
    """What the API server filled in stays free for others, such as an autoscaler."""
    rlvr("submit", manifest)

    fields = rlvr.cluster.get("rlvr", "test", "-n", rlvr.namespace, "--show-managed-fields")["metadata"][
        "managedFields"
    ]
    (ours,) = (entry for entry in fields if entry["manager"] == "rlvr")
    assert "f:replicas" not in ours["fieldsV1"]["f:spec"]["f:rollout"]


def test_a_manifest_with_problems_is_refused_before_a_cluster_is_asked(rlvr: Shell, tmp_path: Path) -> None:
    path = a_manifest(tmp_path, training={"steps": 0, "promptsPerStep": 4, "groupSize": 4})
    rlvr.kubeconfig = "/nowhere"

    refused = rlvr("submit", path, code=EXIT_INVALID).stderr

    assert refused == rlvr("validate", path, code=EXIT_INVALID, place=False).stderr
    assert "spec.training.steps is 0: must be at least 1." in refused


def test_a_change_that_the_api_server_refuses_is_told_with_its_line(rlvr: Shell, tmp_path: Path) -> None:
    rlvr("submit", a_manifest(tmp_path))
    path = a_manifest(
        tmp_path, managedBy="other/controller", training={"steps": 9, "promptsPerStep": 4, "groupSize": 4}
    )

    assert rlvr("submit", path, code=EXIT_INVALID).stderr.splitlines() == [
        f"error: {path} is refused by the API server: 2 problems",
        "  line 16: spec.training: training is fixed while the job runs: set suspend to true first, or make a new job.",
        "  line 28: spec.managedBy: managedBy never changes: make a new job.",
    ]


def test_a_job_goes_where_its_manifest_says(rlvr: Shell, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    manifest = a_job_dict()
    manifest["metadata"]["namespace"] = rlvr.namespace
    path.write_text(yaml.safe_dump(manifest))

    assert "created" in rlvr("submit", str(path), place=False).stdout
    assert rlvr.job()["metadata"]["namespace"] == rlvr.namespace
    rlvr.namespace = "elsewhere"
    assert "but -n says 'elsewhere': drop one of the two." in rlvr("submit", str(path), code=EXIT_INVALID).stderr


def test_a_list_is_what_kubectl_shows(rlvr: Shell, manifest: str) -> None:
    assert rlvr("list").stderr == f"No jobs in namespace {rlvr.namespace}.\n"
    rlvr("submit", manifest)
    rlvr.set_status(**STATUS)

    head, row = (line.split() for line in rlvr("list").stdout.splitlines())
    assert head == ["NAME", "PHASE", "STEP", "REWARD", "ROLLOUTS", "RESTARTS", "AGE"]
    assert row[:5] == ["test", "Starting", "3", "0.25", "1/2"]
    assert rlvr("list", "-o", "wide").stdout.splitlines()[0].split()[-3:] == ["ATTEMPT", "QUEUE", "CHECKPOINT"]
    assert rlvr("list", "-o", "name").stdout == "rlvrjob.rlvr.dev/test\n"
    assert rlvr.namespace in rlvr("list", "-A", place=False).stdout


@pytest.mark.parametrize("verb", ["list", "status"])
def test_other_programs_read_json_or_yaml(rlvr: Shell, manifest: str, verb: str) -> None:
    rlvr("submit", manifest)
    names = ("test",) if verb == "status" else ()

    as_json = json.loads(rlvr(verb, *names, "-o", "json").stdout)
    as_yaml = yaml.safe_load(rlvr(verb, *names, "-o", "yaml").stdout)

    json_job, yaml_job = (it["items"][0] if verb == "list" else it for it in (as_json, as_yaml))
    assert json_job == yaml_job
    assert json_job["metadata"]["name"] == "test"
    assert "managedFields" not in json_job["metadata"]


def test_the_status_says_why_and_what_happened(rlvr: Shell, manifest: str) -> None:
    rlvr("submit", manifest)
    assert "no operator has looked at this job yet" in rlvr("status", "test").stdout
    rlvr.set_status(**STATUS)
    rlvr.cluster.apply(an_event(rlvr.job()))

    text = rlvr("status", "test").stdout
    assert "Why       pod test-learner-0-a1 cannot pull image registry/trainer:v9: not found\n" in text
    assert "Step      3 of 60, reward 0.250\n" in text
    assert "rollout   1       2         0        0\n" in text
    assert "Warning   " in text
    assert "ImagePull   Back-off pulling image\n" in text


def an_event(job: dict[str, Any]) -> dict[str, Any]:
    about = {"kind": "RLVRJob", "apiVersion": job["apiVersion"], "uid": job["metadata"]["uid"]}
    about |= {key: job["metadata"][key] for key in ("name", "namespace")}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "test.1", "namespace": about["namespace"]},
        "involvedObject": about,
        "type": "Warning",
        "reason": "ImagePull",
        "message": "Back-off pulling image",
    }


def test_a_job_is_suspended_and_resumed(rlvr: Shell, manifest: str) -> None:
    rlvr("submit", manifest)

    assert "test suspending: it saves a checkpoint first" in rlvr("suspend", "test").stdout
    assert rlvr.job()["spec"]["suspend"] is True
    assert "test is suspended already" in rlvr("suspend", "test").stdout
    assert "It is suspended: start it with `rlvr resume test" in rlvr("submit", manifest).stdout
    assert "test resumed" in rlvr("resume", "test").stdout
    assert rlvr.job()["spec"]["suspend"] is False
    assert "test is not suspended" in rlvr("resume", "test").stdout


def test_what_is_over_is_not_suspended(rlvr: Shell, manifest: str) -> None:
    rlvr("submit", manifest)
    rlvr.set_status(**{**STATUS, "phase": "Succeeded"})

    refused = rlvr("suspend", "test", code=EXIT_INVALID).stderr

    assert refused == "error: job 'test' has succeeded, so there is nothing to suspend.\n"


def test_deletion_waits_for_the_last_checkpoint(rlvr: Shell, manifest: str) -> None:
    rlvr("submit", manifest)
    hold(rlvr, ["rlvr.dev/last-checkpoint"])
    command = [str(RLVR), "delete", "test", "-n", rlvr.namespace]
    with subprocess.Popen(
        command, env=rlvr.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as it:
        assert it.stderr is not None
        assert "Waiting for its last checkpoint and its pods" in it.stderr.readline()
        assert "Deleting" in rlvr("status", "test").stdout
        assert it.poll() is None
        hold(rlvr, [])
        assert it.communicate(timeout=20)[0] == "rlvrjob.rlvr.dev/test deleted\n"
    assert rlvr("status", "test", code=1).stderr.startswith("error: there is no job 'test'")


def test_deletion_need_not_be_waited_for(rlvr: Shell, manifest: str) -> None:
    rlvr("submit", manifest)

    assert rlvr("delete", "test", "--no-wait").stdout == "rlvrjob.rlvr.dev/test is being deleted\n"


def hold(rlvr: Shell, finalizers: list[str]) -> None:
    patch = json.dumps({"metadata": {"finalizers": finalizers}})
    rlvr.cluster.kubectl("patch", "rlvr", "test", "--type=merge", "-p", patch, "-n", rlvr.namespace)


def test_watching_ends_with_the_job(rlvr: Shell, manifest: str, tmp_path: Path) -> None:
    rlvr("submit", manifest)
    with (tmp_path / "out").open("w") as out:
        watching = subprocess.Popen(
            [str(RLVR), "watch", "test", "-n", rlvr.namespace], env=rlvr.environment, stdout=out
        )
    for status in (STATUS, {**STATUS, "phase": "Running"}, {**STATUS, "phase": "Failed", "message": "out of restarts"}):
        rlvr.set_status(**status)
        wait_until(lambda word=status["phase"]: f"test  {word}" in (tmp_path / "out").read_text(), status["phase"])

    assert watching.wait(20) == 1
    *_, last = (tmp_path / "out").read_text().splitlines()
    assert last[8:] == "  test  Failed  step 3/60  reward 0.250  rollouts 1/2  out of restarts"


def test_the_options_of_every_verb_are_declared_without_the_client() -> None:
    code = "import sys, rlvr_trainer.cli.main as m; m._parser(); print({'kubernetes', 'yaml'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"
