"""Each rule of the CRD on a real API server: what breaks it is refused, in words, at the field to edit."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from builders import a_job_dict
from kubernetes_server import Cluster
from rlvr_api.schema import job_schema
from served_jobs import ServedJobs, jobs_of, with_values


class Refused(NamedTuple):
    """Values put into a good manifest, the field that the API server should name, and what it should say of it."""

    values: Mapping[str, Any]
    field: str
    words: str


TWO_FORKS = {"threshold": 0.5, "temperature": 1.0, "otherTemperature": 0.0}
NAMES = [
    Refused({"metadata.name": "n" * 41}, "metadata.name", "longer than 40 characters, and pods are named after it"),
    Refused({"metadata.name": "1st"}, "metadata.name", "must begin with a letter and hold only a-z, 0-9 and -"),
    Refused({"metadata.name": "two.words"}, "metadata.name", "Services are named after it"),
]
CROSS_FIELD = [
    Refused({"spec.training.tokenBudget": 10}, "spec.training.tokenBudget", "cannot hold rollout.sampling.maxTokens"),
    Refused({"spec.model.maxContext": 64}, "spec.rollout.sampling.maxTokens", "no room for a prompt within"),
    Refused({"spec.rollout.maxConcurrent": 2}, "spec.rollout.maxConcurrent", "less than training.groupSize"),
    Refused(
        {"spec.training.optimizer.warmupSteps": 9}, "spec.training.optimizer.warmupSteps", "more than training.steps"
    ),
    Refused({"spec.training.minibatches": 3}, "spec.training.minibatches", "does not divide promptsPerStep"),
    Refused(
        {"spec.data.train": {"file": {"path": "/x.jsonl"}}, "spec.reward.verifiers": [{"reasoningGym": {}}]},
        "spec.reward.verifiers",
        "scores procedural tasks only",
    ),
    Refused({"spec.reward.verifiers": [{"math": {}, "weight": 0}]}, "spec.reward.verifiers", "needs a weight above 0"),
    Refused({"spec.rollout.min": 3}, "spec.rollout.replicas", "replicas is below min: raise replicas or lower min"),
    Refused({"spec.rollout.replicas": 5, "spec.rollout.max": 4}, "spec.rollout.replicas", "replicas is above max"),
    Refused({"spec.rollout.sampling.topK": 0}, "spec.rollout.sampling.topK", "must be -1 (all tokens) or at least 1"),
    Refused(
        {"spec.rollout.engine": "vllm", "spec.rollout.sampling.forking": {}},
        "spec.rollout.sampling.forking",
        "set engine to local, or drop forking",
    ),
    Refused({"spec.rollout.sampling.forking": TWO_FORKS}, "spec.rollout.sampling.forking", "a temperature of 0"),
    Refused(
        {"spec.rollout.engine": "vllm", "spec.data.eval": {"file": {"path": "/x"}, "forking": {}}},
        "spec.data.eval.forking",
        "set it to local, or drop forking",
    ),
    Refused(
        {"spec.data.eval": {"file": {"path": "/x"}, "forking": {}, "temperature": 0.5}},
        "spec.data.eval.temperature",
        "not used beside forking",
    ),
    Refused(
        {"spec.rollout.weightTransfer": "nccl", "spec.learner.gpusPerNode": 1},
        "spec.rollout.weightTransfer",
        "set weightTransfer to directory, or engine to vllm",
    ),
    Refused(
        {"spec.rollout.engine": "vllm", "spec.rollout.weightTransfer": "nccl"},
        "spec.rollout.weightTransfer",
        "set gpusPerNode to at least 1, or weightTransfer to directory",
    ),
    Refused({"spec.learner.nodes": 2}, "spec.learner.backend", "one process, too few for nodes x gpusPerNode"),
    Refused({"spec.algorithm.trustRegion.dualClip": 0.5}, "spec.algorithm.trustRegion.dualClip", "must be above 1"),
    Refused({"spec.scheduling.gang": "kueue"}, "spec.scheduling.queueName", "set queueName to a LocalQueue"),
]
CHOICES = [
    Refused({"spec.model": {}}, "spec.model", "set exactly one of builtin, path, hub"),
    Refused({"spec.model.path": "/model"}, "spec.model", "set exactly one of builtin, path, hub"),
    Refused({"spec.data.train.file": {"path": "/x"}}, "spec.data.train", "exactly one of procedural, file, directory"),
    Refused({"spec.data.train.template": {}}, "spec.data.train.template", "set exactly one of plain, chat"),
    Refused({"spec.data.eval": {}}, "spec.data.eval", "set exactly one of procedural, file, directory"),
    Refused(
        {"spec.data.eval": {"file": {"path": "/x"}, "template": {}}},
        "spec.data.eval.template",
        "set exactly one of plain, chat",
    ),
    Refused({"spec.algorithm.lengthReward": {}}, "spec.algorithm.lengthReward", "set exactly one of truncation"),
    Refused({"spec.learner.backend": {}}, "spec.learner.backend", "set exactly one of local, deepspeed"),
    Refused(
        {"spec.reward.verifiers": [{"exact": {}, "math": {}}]},
        "spec.reward.verifiers[0]",
        "set exactly one of exact, math",
    ),
]
BOUNDS = [
    Refused({"spec.training.steps": -1}, "spec.training.steps", "should be greater than or equal to 1"),
    Refused({"spec.training.steps": 2**31}, "spec.training.steps", "should be less than or equal to 2147483647"),
    Refused({"spec.training.steps": "ten"}, "spec.training.steps", "must be of type integer"),
    Refused({"spec.rollout.sampling.temperature": 0}, "spec.rollout.sampling.temperature", "should be greater than 0"),
    Refused({"spec.algorithm.preset": "dap0"}, "spec.algorithm.preset", 'supported values: "grpo", "dapo"'),
    Refused({"spec.reward.verifiers": []}, "spec.reward.verifiers", "at least 1 items"),
    Refused({"spec.checkpoint.uri": "ftp://host/x"}, "spec.checkpoint.uri", "should match"),
    Refused({"spec.learner.template": "x"}, "spec.learner.template", "must be of type object"),
    Refused({"spec.managedBy": ""}, "spec.managedBy", "at least 1 chars long"),
]


@pytest.fixture(scope="module")
def jobs(kubernetes: Cluster) -> Iterator[ServedJobs]:
    with jobs_of(kubernetes, "default") as served:
        yield served.dry


@pytest.mark.parametrize(
    "case", [*NAMES, *CROSS_FIELD, *CHOICES, *BOUNDS], ids=lambda case: json.dumps(case.values)[:60]
)
def test_what_breaks_a_rule_is_refused_at_the_field_to_edit(jobs: ServedJobs, case: Refused) -> None:
    answer = jobs.create(with_values(a_job_dict(), case.values))

    assert answer.code == 422
    assert case.words in answer.complaints[case.field]


def test_every_rule_of_the_crd_has_its_case_above() -> None:
    shown = [(case.field, case.words) for case in (*NAMES, *CROSS_FIELD, *CHOICES)]
    missing = [
        (place, message)
        for place, message in rules_about_one_object(job_schema())
        if not any(place == field.replace("[0]", "[]") and words in message for field, words in shown)
    ]

    assert missing == []


@pytest.mark.parametrize("path", ["spec.stepz", "spec.training.stepz", "spec.rollout.sampling.maxtokens"])
def test_a_field_that_does_not_exist_is_refused_as_kubectl_asks_for_it(jobs: ServedJobs, path: str) -> None:
    answer = jobs.create(with_values(a_job_dict(), {path: 1}), fieldValidation="Strict")

    assert answer.code == 400
    assert f'unknown field "{path}"' in answer.body["message"]


@pytest.mark.parametrize("path", ["model", "data", "training", "reward", "training.steps", "data.train"])
def test_what_has_no_default_must_be_there(jobs: ServedJobs, path: str) -> None:
    manifest = a_job_dict()
    *parents, last = path.split(".")
    section = manifest["spec"]
    for part in parents:
        section = section[part]
    del section[last]

    answer = jobs.create(manifest)

    assert answer.code == 422
    assert "Required value" in answer.complaints[f"spec.{path}"]


def rules_about_one_object(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Field and message of every rule that is not about a change."""
    for rule in schema.get("x-kubernetes-validations", []):
        if "oldSelf" not in rule["rule"]:
            yield f"{path}{rule.get('fieldPath', '')}".lstrip("."), rule["message"]
    for name, member in schema.get("properties", {}).items():
        yield from rules_about_one_object(member, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from rules_about_one_object(schema[key], f"{path}[]")
