"""Rows of docs/concepts/failure-modes.md on a real API server, beside those of test_operator_lifecycle.py."""

import time
from collections.abc import Iterator

import pytest

from kubernetes_server import ControlPlane
from live_jobs import LiveJob
from operator_process import operated_plane

HELD = {"metadata": {"annotations": {"test.rlvr.dev/hold": "true"}}}
"""A pod template whose pods get a node and then nothing happens to them."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with operated_plane(tmp_path_factory.mktemp("failures")) as made:
        yield made


# --- learner ----------------------------------------------------------------------------------------------------------


def test_a_learner_that_runs_out_of_memory_twice_ends_the_job_with_the_way_out(plane: ControlPlane) -> None:
    job = LiveJob(plane, learner={"restart": {"noProgressAttempts": 9}}).reaches("Running")
    job.end("sums-learner-0-a0", 137, reason="OOMKilled")
    job.waits(lambda: "sums-learner-0-a1" in job.pods(), "the next attempt is there")
    job.reaches("Running").end("sums-learner-0-a1", 137, reason="OOMKilled")

    job.reaches("Failed")
    assert job.condition("Failed")["reason"] == "OutOfMemory"
    assert "sums-learner-0-a1" in job.status()["message"] and "tokenBudget" in job.status()["message"]


def test_restarts_that_are_used_up_end_the_job(plane: ControlPlane) -> None:
    job = LiveJob(plane, learner={"restart": {"maxRestarts": 0}}).reaches("Running")
    job.end("sums-learner-0-a0", 1, message="ValueError: odd")

    job.reaches("Failed")
    assert job.condition("Failed")["reason"] == "RestartsExhausted"
    assert "ValueError: odd" in job.status()["message"]


@pytest.mark.parametrize(("action", "restarts"), [("fail", None), ("restartFree", 0)])
def test_a_rule_of_the_users_decides_about_its_exit_codes(
    plane: ControlPlane, action: str, restarts: int | None
) -> None:
    rules = [{"exitCodes": [3], "action": action}]
    job = LiveJob(plane, learner={"restart": {"rules": rules}}).reaches("Running")
    job.end("sums-learner-0-a0", 3)

    if restarts is None:
        job.reaches("Failed")
        assert f"learner.restart.rules: {action}" in job.status()["message"]
    else:
        job.waits(lambda: "sums-learner-0-a1" in job.pods(), "the next attempt is there")
        assert job.status()["restarts"] == restarts


def test_a_learner_pod_that_a_user_deletes_is_waited_for_and_judged_by_its_exit_code(plane: ControlPlane) -> None:
    job = LiveJob(plane).reaches("Running")
    job.hold("sums-learner-0-a0")
    plane.kubectl("delete", "pod", "sums-learner-0-a0", "-n", job.home, "--wait=false")
    time.sleep(2.0)
    assert set(job.pods("learner")) == {"sums-learner-0-a0"}, "it may be saving"

    job.end("sums-learner-0-a0", 75)
    job.waits(lambda: job.status().get("attempt") == 1, "the attempt is over")
    job.hold("sums-learner-0-a0", is_held=False)
    job.waits(lambda: set(job.pods("learner")) == {"sums-learner-0-a1"}, "the next attempt is there alone")
    assert job.status()["restarts"] == 0


# --- rollouts and rewards ---------------------------------------------------------------------------------------------


def test_a_rollout_that_ends_again_and_again_in_place_is_replaced(plane: ControlPlane) -> None:
    job = LiveJob(plane).reaches("Running")
    job.loop("sums-rollout-0-a0", restarts=5)

    job.waits(lambda: set(job.pods("rollout")) == {"sums-rollout-0-a1"}, "the successor is there alone")
    job.waits(lambda: job.condition("RolloutsReady")["status"] == "True", "rollouts are ready")
    assert set(job.pods("learner")) == {"sums-learner-0-a0"}


def test_rollouts_that_never_work_end_the_job(plane: ControlPlane) -> None:
    job = LiveJob(plane, rollout={"template": HELD})
    job.waits(lambda: "sums-rollout-0-a0" in job.pods(), "there is a rollout")
    plane.kubectl("annotate", "pod", "sums-rollout-0-a0", "-n", job.home, "--overwrite", "rlvr.dev/failures=10")
    job.loop("sums-rollout-0-a0", restarts=1)

    job.reaches("Failed")
    assert job.condition("Failed")["reason"] == "RolloutUnstable"
    assert "sums-rollout-0-a0" in job.status()["message"]


def test_a_job_without_rewards_waits_and_does_not_fail(plane: ControlPlane) -> None:
    job = LiveJob(plane).reaches("Running")
    job.write("sums-reward-0-a0", conditions=[{"type": "Ready", "status": "False"}])
    job.waits(lambda: job.condition("RewardReady").get("status") == "False", "rewards are missing")
    time.sleep(2.0)
    assert job.condition("Failed").get("status") != "True"

    job.write("sums-reward-0-a0", conditions=[{"type": "Ready", "status": "True"}])
    job.reaches("Running")
    assert (job.status()["attempt"], set(job.pods("learner"))) == (0, {"sums-learner-0-a0"})


# --- placing and starting ---------------------------------------------------------------------------------------------


def deny_rewards(plane: ControlPlane, home: str) -> None:
    """An admission policy of the cluster's owner, in one namespace."""
    api, name = "admissionregistration.k8s.io/v1", f"no-rewards-{home}"
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    rule = {"expression": "object.metadata.labels['rlvr.dev/role'] != 'reward'", "message": "rewards need a ticket"}
    spec = {"matchConstraints": {"resourceRules": [pods]}, "validations": [rule]}
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": home}}}
    binding = {"policyName": name, "validationActions": ["Deny"], "matchResources": here}
    plane.apply(
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name}, "spec": spec},
        {"apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": binding},
    )


def test_what_an_admission_policy_forbids_is_told_in_its_words(plane: ControlPlane) -> None:
    job = LiveJob(plane, suspend=True).reaches("Suspended")
    deny_rewards(plane, job.home)
    time.sleep(3.0)
    job.edit(suspend=False)

    job.waits(lambda: "rewards need a ticket" in job.condition("Scheduled").get("message", ""), "the policy is named")
    assert job.condition("Scheduled")["reason"] == "Refused"
    assert set(job.pods()) == {"sums-learner-0-a0", "sums-rollout-0-a0"}


def test_a_quota_is_told_in_the_servers_words(plane: ControlPlane) -> None:
    job = LiveJob(plane, suspend=True).reaches("Suspended")
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few", "namespace": job.home}}
    plane.apply(quota | {"spec": {"hard": {"pods": "2"}}})
    job.waits(lambda: "used" in plane.get("quota", "few", "-n", job.home).get("status", {}), "the quota is counted")
    job.edit(suspend=False)

    job.waits(lambda: job.condition("Scheduled").get("reason") == "QuotaExceeded", "the quota is told")
    assert "exceeded quota: few" in job.status()["message"]
    assert len(job.pods()) == 2


def test_a_template_that_no_server_takes_is_the_jobs_fault(plane: ControlPlane) -> None:
    engine = {"name": "engine", "resources": {"limits": {"cpu": "-1"}}}
    job = LiveJob(plane, rollout={"template": {"spec": {"containers": [engine]}}})

    job.waits(lambda: job.condition("Validated").get("status") == "False", "the job is not valid")
    assert job.condition("Validated")["reason"] == "Refused"
    assert "resources.limits" in job.status()["message"]


def test_a_template_that_breaks_our_rules_makes_no_pod(plane: ControlPlane) -> None:
    job = LiveJob(plane, rollout={"template": {"spec": {"hostNetwork": True}}})

    job.waits(lambda: job.condition("Validated").get("status") == "False", "the job is not valid")
    assert "rollout.template.spec.hostNetwork" in job.status()["message"]
    assert job.condition("Scheduled")["reason"] == "NotMade"
    assert not job.pods()


def test_an_image_that_cannot_be_pulled_ends_the_job_at_the_start_up_deadline(plane: ControlPlane) -> None:
    job = LiveJob(plane, reward={"template": HELD}, limits={"startupDeadlineSeconds": 6})
    job.waits(lambda: "sums-reward-0-a0" in job.pods(), "there is a reward pod")
    job.waiting("sums-reward-0-a0", "ImagePullBackOff", "not found")
    assert job.condition("Failed").get("status") != "True"

    job.reaches("Failed")
    assert job.condition("Failed")["reason"] == "ImagePull"
    assert "sums-reward-0-a0" in job.status()["message"] and "not found" in job.status()["message"]


def test_a_job_that_does_not_begin_names_the_pod_in_the_way(plane: ControlPlane) -> None:
    job = LiveJob(plane, rollout={"template": HELD}, limits={"startupDeadlineSeconds": 4})

    job.reaches("Failed")
    assert job.condition("Failed")["reason"] == "StartupDeadlineExceeded"
    assert "sums-rollout-0-a0" in job.status()["message"]


# --- the job ----------------------------------------------------------------------------------------------------------


def names(plane: ControlPlane, kind: str, home: str) -> list[str]:
    return sorted(it["metadata"]["name"] for it in plane.get(kind, "-n", home)["items"])


def test_the_service_and_the_budget_come_with_the_pods_and_go_with_the_job(plane: ControlPlane) -> None:
    job = LiveJob(plane, rollout={"replicas": 2})
    job.waits(lambda: names(plane, "pdb", job.home) == ["sums-rollout"], "there is a budget")
    assert names(plane, "services", job.home) == ["sums"]

    plane.kubectl("delete", "rlvrjob", "sums", "-n", job.home, "--wait=false")
    kinds = "services,pdb,networkpolicies,pods"
    job.waits(lambda: not job.is_there() and not names(plane, kinds, job.home), "nothing is left")


def test_a_job_whose_pods_have_no_node_has_no_service_yet(plane: ControlPlane) -> None:
    template = {"spec": {"nodeSelector": {"kubernetes.io/hostname": "nowhere"}}}
    job = LiveJob(plane, **{role: {"template": template} for role in ("learner", "rollout", "reward")})

    job.waits(lambda: job.condition("Scheduled").get("reason") == "Unschedulable", "it is unschedulable")
    assert names(plane, "services", job.home) == []
