"""What may change in a job, and when: rules about a change, on a real API server."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from builders import a_job_dict
from kubernetes_server import Cluster
from rlvr_api.spec import FROZEN_WHILE_RUNNING
from served_jobs import ServedJobs, jobs_of, with_values

CHANGES: Final[dict[str, dict[str, Any]]] = {
    "model": {"spec.model.dtype": "bfloat16"},
    "data": {"spec.data.train.procedural.seed": 7},
    "algorithm": {"spec.algorithm.preset": "grpo"},
    "training": {"spec.training.steps": 4},
    "checkpoint.uri": {"spec.checkpoint.uri": "s3://bucket/elsewhere"},
    "scheduling": {"spec.scheduling.queueName": "other"},
    "rollout.engine": {"spec.rollout.engine": "vllm"},
    "rollout.weightTransfer": {
        "spec.rollout.weightTransfer": "nccl",
        "spec.rollout.engine": "vllm",
        "spec.learner.gpusPerNode": 1,
    },
    "rollout.template": {"spec.rollout.template": {"spec": {"nodeName": "x"}}},
    "rollout.sampling": {"spec.rollout.sampling.temperature": 0.5},
    "rollout.maxConcurrent": {"spec.rollout.maxConcurrent": 16},
    "reward.verifiers": {"spec.reward.verifiers": [{"math": {}}]},
    "reward.timeoutSeconds": {"spec.reward.timeoutSeconds": 3.5},
    "reward.workers": {"spec.reward.workers": 3},
    "reward.template": {"spec.reward.template": {"spec": {"nodeName": "x"}}},
    "reward.runtimeClassName": {"spec.reward.runtimeClassName": "gvisor"},
    "learner.nodes": {"spec.learner.nodes": 2},
    "learner.gpusPerNode": {"spec.learner.gpusPerNode": 4},
    "learner.backend": {"spec.learner.backend.deepspeed.zeroStage": 3},
    "learner.template": {"spec.learner.template": {"metadata": {"labels": {"a": "b"}}}},
}
"""A change of each frozen field."""
FREE: Final = (
    {"spec.suspend": True},
    {"spec.rollout.replicas": 3},
    {"spec.rollout.min": 1, "spec.rollout.max": 9},
    {"spec.reward.replicas": 2},
    {"spec.limits.activeDeadlineSeconds": 7200},
    {"spec.limits.startupDeadlineSeconds": 3600},
    {"spec.limits.hangTimeoutSeconds": 3600},
    {"spec.limits.ttlSecondsAfterFinished": 60},
    {"spec.learner.restart.maxRestarts": 9},
    {"spec.learner.restart.rules": [{"exitCodes": [3], "action": "fail"}]},
    {"spec.checkpoint.every": 5, "spec.checkpoint.keep": 2, "spec.checkpoint.secretRef": {"name": "rotated"}},
    {"metadata.labels": {"team": "research"}},
)


ROLLOUT: Final = {"engine": "local", "sampling": {"maxTokens": 64}}


@pytest.fixture
def jobs(kubernetes: Cluster, namespace: str) -> Iterator[ServedJobs]:
    with jobs_of(kubernetes, namespace) as served:
        yield served


def a_running_job(jobs: ServedJobs, **sections: Any) -> None:
    """A job named `test`, changeable in every field of CHANGES."""
    sections |= {"learner": {"backend": {"deepspeed": {}}}, "checkpoint": {"uri": "s3://bucket/here"}}
    assert jobs.create(a_job_dict(**sections)).is_accepted


def test_every_frozen_field_has_a_change_above() -> None:
    assert CHANGES.keys() == set(FROZEN_WHILE_RUNNING)


def test_what_a_running_job_is_made_of_changes_only_while_it_is_suspended(jobs: ServedJobs) -> None:
    a_running_job(jobs)

    for field, change in CHANGES.items():
        answer = jobs.dry.merge("test", with_values({}, change))
        assert answer.code == 422, field
        assert f"{field} is fixed while the job runs: set suspend to true first" in answer.complaints[f"spec.{field}"]

    assert jobs.merge("test", {"spec": {"suspend": True}}).is_accepted
    for field, change in CHANGES.items():
        answer = jobs.dry.merge("test", with_values({}, change))
        assert answer.is_accepted, (field, answer.body)


def test_suspending_and_changing_at_once_is_refused_for_pods_are_still_there(jobs: ServedJobs) -> None:
    a_running_job(jobs)

    answer = jobs.merge("test", {"spec": {"suspend": True, "training": {"steps": 9}}})

    assert answer.complaints.keys() == {"spec.training"}


def test_resuming_and_changing_at_once_is_one_edit(jobs: ServedJobs) -> None:
    a_running_job(jobs, suspend=True)

    assert jobs.merge("test", {"spec": {"suspend": False, "training": {"steps": 9}}}).is_accepted
    assert jobs.merge("test", {"spec": {"training": {"steps": 10}}}).code == 422


def test_a_field_that_was_absent_is_as_fixed_as_one_with_a_value(jobs: ServedJobs) -> None:
    assert jobs.create(a_job_dict()).is_accepted

    answer = jobs.merge("test", {"spec": {"checkpoint": {"uri": "s3://bucket/late"}}})

    assert "checkpoint.uri is fixed while the job runs" in answer.complaints["spec.checkpoint.uri"]


@pytest.mark.parametrize("change", FREE, ids=lambda change: next(iter(change)))
def test_what_a_running_job_can_take_over_may_change(jobs: ServedJobs, change: dict[str, Any]) -> None:
    a_running_job(jobs)

    answer = jobs.merge("test", with_values({}, change))

    assert answer.is_accepted, answer.body


@pytest.mark.parametrize("suspend", [True, False])
def test_the_manager_never_changes(jobs: ServedJobs, *, suspend: bool) -> None:
    a_running_job(jobs, suspend=suspend)

    answer = jobs.merge("test", {"spec": {"managedBy": "kueue.x-k8s.io/multikueue"}})

    assert answer.complaints == {"spec.managedBy": "Invalid value: managedBy never changes: make a new job"}


def test_the_checkpoints_of_a_job_stay_where_the_first_one_is(jobs: ServedJobs) -> None:
    a_running_job(jobs, suspend=True)
    elsewhere = {"spec": {"checkpoint": {"uri": "s3://bucket/elsewhere"}}}
    assert jobs.merge("test", elsewhere).is_accepted

    first = {"step": 10, "uri": "s3://bucket/elsewhere/step-10", "time": "2026-01-01T00:00:00Z"}
    assert jobs.merge("test", {"status": {"checkpoint": first}}, below="status").is_accepted

    for uri in ("s3://bucket/third", None):
        answer = jobs.merge("test", {"spec": {"checkpoint": {"uri": uri}}})
        assert (
            "fixed once a checkpoint is there, or the job would start over" in answer.complaints["spec.checkpoint.uri"]
        )


def test_scaling_beyond_the_maximum_is_refused(jobs: ServedJobs) -> None:
    a_running_job(jobs, rollout={"engine": "local", "max": 4, "sampling": {"maxTokens": 64}})

    assert jobs.merge("test", {"spec": {"replicas": 4}}, below="scale").is_accepted
    answer = jobs.merge("test", {"spec": {"replicas": 5}}, below="scale")
    assert "replicas is above max: lower replicas or raise max" in answer.complaints["spec.rollout.replicas"]


def a_gang_job(jobs: ServedJobs, *, replicas: int = 3, **rollout: Any) -> None:
    a_running_job(jobs, scheduling={"gang": "native"}, rollout={**ROLLOUT, "replicas": replicas, **rollout})


@pytest.mark.parametrize(("before", "after"), [({"min": 2}, 1), ({"min": 2}, None), ({}, 2)], ids=str)
def test_the_minimum_of_a_gang_that_runs_is_part_of_its_size(
    jobs: ServedJobs, before: dict[str, int], after: int | None
) -> None:
    a_gang_job(jobs, **before)

    answer = jobs.merge("test", {"spec": {"rollout": {"min": after}}})

    assert answer.code == 422
    (complaint,) = answer.complaints.values()
    assert "rollout.min is part of the gang" in complaint
    assert jobs.merge("test", {"spec": {"rollout": {"replicas": 4}}}).is_accepted
    assert jobs.merge("test", {"spec": {"suspend": True}}).is_accepted
    assert jobs.merge("test", {"spec": {"rollout": {"min": after}}}).is_accepted
