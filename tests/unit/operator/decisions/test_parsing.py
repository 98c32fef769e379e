"""Kubernetes objects become records; what others wrote never makes the reader fall."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import a_job_dict
from rlvr_api import RLVRJobStatus
from rlvr_operator.observed import Exit, Waiting
from rlvr_operator.parsing import parse_job, parse_pod
from rlvr_operator.timestamps import rfc3339, unix

NOON = "2026-11-21T12:00:00Z"
IDENTITY = {"rlvr.dev/role": "rollout", "rlvr.dev/index": "3", "rlvr.dev/attempt": "2"}


def a_raw_job(status: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
    metadata = {"name": "sums", "namespace": "research", "uid": "u", "generation": 4, "creationTimestamp": NOON}
    return {"metadata": metadata, "spec": a_job_dict(**sections)["spec"], "status": status or {}}


def a_raw_pod(
    *, labels: dict[str, str] | None = None, spec: dict[str, Any] | None = None, status: Any = None, **metadata: Any
) -> dict[str, Any]:
    known = {"name": "p", "uid": "u", "creationTimestamp": NOON, "labels": IDENTITY if labels is None else labels}
    return {
        "metadata": {**known, **metadata},
        "spec": spec or {"nodeName": "n1"},
        "status": status or {"phase": "Running"},
    }


def container(name: str = "engine", *, key: str = "state", **state: Any) -> dict[str, Any]:
    return {"name": name, "image": "x:1", key: state}


def test_a_job_is_read_whole() -> None:
    job = parse_job(a_raw_job())

    assert (job.namespace, job.name, job.uid, job.generation) == ("research", "sums", "u", 4)
    assert job.created_at == unix(NOON)
    assert job.spec is not None and job.spec.training.steps == 3
    assert job.problems == ()
    assert job.status == RLVRJobStatus()


def test_a_broken_rule_is_told_with_field_value_rule_and_way_out() -> None:
    job = parse_job(a_raw_job(rollout={"engine": "local", "replicas": 1, "min": 2, "sampling": {"maxTokens": 64}}))

    assert job.spec is None
    assert job.problems == ("spec.rollout.replicas: replicas 1 is below min 2: raise replicas or lower min.",)


def test_an_unknown_or_missing_field_is_told_from_the_root() -> None:
    raw = a_raw_job(rollout={"replicaz": 2})
    del raw["spec"]["model"]

    job = parse_job(raw)

    assert "spec.rollout.replicaz is not a field: did you mean replicas?" in job.problems
    assert any(problem.startswith("spec.model is missing") for problem in job.problems)


def test_a_job_of_another_controller_is_recognised_even_if_its_spec_is_not_ours() -> None:
    job = parse_job(a_raw_job(managedBy="someone.else/controller", model=3))

    assert (job.spec, job.managed_by) == (None, "someone.else/controller")


def test_a_status_survives_being_written_and_read() -> None:
    written = {"attempt": 3, "restarts": 1, "currentAttempt": {"freeRestarts": [NOON]}, "phase": "Running"}

    status = parse_job(a_raw_job(written)).status

    assert status.model_dump(by_alias=True, exclude_defaults=True, mode="json") == written


def test_status_fields_of_a_newer_version_are_left_out_and_the_rest_is_kept() -> None:
    status = parse_job(a_raw_job({"attempt": 3, "mood": "good", "currentAttempt": {"fruitless": 1, "luck": 7}})).status

    assert (status.attempt, status.current_attempt.fruitless) == (3, 1)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    st.dictionaries(
        st.sampled_from(["attempt", "conditions", "roles", "progress", "phase", "currentAttempt", "checkpoint", "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=3),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "step", "y"]), inner),
            max_leaves=6,
        ),
    )
)
def test_no_status_whatever_makes_the_reader_fall(status: dict[str, Any]) -> None:
    assert parse_job(a_raw_job(status)).name == "sums"


def test_a_pod_is_read_whole() -> None:
    conditions = [
        {"type": "Ready", "status": "True", "lastTransitionTime": NOON},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": NOON},
    ]
    raw = a_raw_pod(
        status={"phase": "Running", "podIP": "10.0.0.7", "conditions": conditions},
        spec={"nodeName": "n1", "terminationGracePeriodSeconds": 600},
        annotations={"rlvr.dev/failures": "4"},
        deletionTimestamp=NOON,
        finalizers=["kueue.x-k8s.io/managed"],
    )

    pod = parse_pod(raw)

    assert pod is not None
    assert (pod.role, pod.index, pod.attempt, pod.failures) == ("rollout", 3, 2, 4)
    assert (pod.phase, pod.node, pod.address, pod.grace_seconds) == ("Running", "n1", "10.0.0.7", 600)
    assert (pod.is_ready, pod.ready_since, pod.is_placed, pod.placed_at) == (True, unix(NOON), True, unix(NOON))
    assert (pod.deleted_at, pod.is_held) == (unix(NOON), True)


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {**IDENTITY, "rlvr.dev/role": "coordinator"},
        {**IDENTITY, "rlvr.dev/index": "-1"},
        {**IDENTITY, "rlvr.dev/index": "²"},
        {**IDENTITY, "rlvr.dev/attempt": "x"},
        {"rlvr.dev/role": "rollout"},
    ],
)
def test_a_pod_without_our_labels_is_none_of_ours(labels: dict[str, str]) -> None:
    assert parse_pod(a_raw_pod(labels=labels)) is None


def test_a_bad_failures_annotation_is_no_failures() -> None:
    pod = parse_pod(a_raw_pod(annotations={"rlvr.dev/failures": "many"}))

    assert pod is not None and pod.failures == 0


def test_a_pod_without_status_is_pending() -> None:
    pod = parse_pod({"metadata": {"name": "p", "uid": "u", "labels": IDENTITY}})

    assert pod is not None
    assert (pod.phase, pod.is_placed, pod.is_ready) == ("Pending", False, False)


def test_the_schedulers_words_are_kept() -> None:
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    gated = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": "gated"}

    lonely = parse_pod(a_raw_pod(spec={"x": 1}, status={"phase": "Pending", "conditions": [unschedulable]}))
    held = parse_pod(a_raw_pod(spec={"schedulingGates": [{"name": "q"}]}, status={"conditions": [gated]}))

    assert lonely is not None and held is not None
    assert (lonely.unschedulable, lonely.is_gated) == ("0/3 nodes", False)
    assert (held.unschedulable, held.is_gated) == ("", True)


@pytest.mark.parametrize("kind", ["DisruptionTarget", "TerminationTarget"])
def test_a_disruption_is_kept_with_its_reason(kind: str) -> None:
    condition = {"type": kind, "status": "True", "reason": "PreemptionByScheduler", "message": "for a better pod"}

    pod = parse_pod(a_raw_pod(status={"conditions": [condition]}))

    assert pod is not None
    assert (pod.is_disrupted, pod.disruption) == (True, "PreemptionByScheduler: for a better pod")


def test_ends_and_waits_of_containers_are_kept() -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled", "startedAt": NOON, "finishedAt": NOON, "message": "oh"}
    status = {
        "initContainerStatuses": [container("fetch", terminated={"exitCode": 0})],
        "containerStatuses": [
            container("engine", terminated=ended),
            container("agent", waiting={"reason": "ImagePullBackOff", "message": "no"}),
            container("late", waiting={"reason": "ContainerCreating"}),
            {**container("again", key="lastState", terminated={"exitCode": 1}), "restartCount": 3},
        ],
    }

    pod = parse_pod(a_raw_pod(status=status))

    assert pod is not None
    noon = unix(NOON)
    assert pod.restarts == 3
    assert pod.waiting == (Waiting(container="agent", image="x:1", reason="ImagePullBackOff", message="no"),)
    assert pod.exits == (
        Exit(container="engine", code=137, reason="OOMKilled", message="oh", started_at=noon, finished_at=noon),
        Exit(container="again", code=1, is_last=True),
    )


def test_times_are_read_as_kubernetes_writes_them() -> None:
    assert rfc3339(unix(NOON) + 0.9) == NOON
    assert unix("2026-11-21T12:00:00.500000Z") == unix(NOON) + 0.5
    assert unix("2026-11-21T13:00:00+01:00") == unix(NOON)
