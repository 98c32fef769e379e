"""Defaults, exactly-one-of, and rules between fields."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from builders import a_job, a_job_dict
from rlvr_api import Progress, RLVRJob
from rlvr_api.base import Model
from rlvr_api.data import PlainTemplate, Template
from rlvr_api.learner import Backend
from rlvr_api.lengths import LengthRewardSpec
from rlvr_api.model import ModelSpec
from rlvr_api.resolved import (
    Advantage,
    EntropyBonus,
    ImportanceSampling,
    Kl,
    OutcomeReward,
    Overlong,
    TrustRegion,
)
from rlvr_api.reward import VerifierSpec

ONE_OFS: list[tuple[type[Model], dict[str, Any], dict[str, Any]]] = [
    (ModelSpec, {"builtin": "arithmetic"}, {"path": "/models/a"}),
    (Template, {"plain": {}}, {"chat": {}}),
    (VerifierSpec, {"math": {}}, {"exact": {}}),
    (Backend, {"local": {}}, {"deepspeed": {}}),
    (LengthRewardSpec, {"laserDE": {}}, {"kimi": {}}),
]


def problem_of(**sections: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        a_job(**sections)
    return str(caught.value)


def test_a_job_has_the_documented_defaults() -> None:
    spec = a_job(rollout={}, algorithm={}).spec

    assert spec.algorithm.preset == "grpo"
    assert (spec.model.dtype, spec.model.max_context) == ("float32", None)
    assert (spec.training.minibatches, spec.training.epochs, spec.training.max_staleness) == (1, 1, 0)
    assert (spec.training.token_budget, spec.training.optimizer.learning_rate) == (16384, 1e-6)
    assert (spec.rollout.replicas, spec.rollout.engine, spec.rollout.max_concurrent) == (1, "vllm", 256)
    assert (spec.reward.timeout_seconds, spec.reward.workers) == (10.0, 2)
    assert (spec.checkpoint.uri, spec.checkpoint.every, spec.checkpoint.keep, spec.checkpoint.resume) == (
        None,
        10,
        3,
        "auto",
    )
    assert (spec.learner.restart.max_restarts, spec.learner.restart.no_progress_attempts) == (3, 2)
    assert spec.data.train.template == Template(plain=PlainTemplate(text="{question}"))


def test_a_job_survives_the_way_through_json() -> None:
    job = a_job(learner={"backend": {"deepspeed": {}}, "template": {"spec": {"containers": [{"name": "learner"}]}}})

    assert RLVRJob.model_validate_json(job.model_dump_json(by_alias=True)) == job


def test_a_job_as_the_api_server_returns_it_is_accepted() -> None:
    seen = a_job_dict() | {"status": {"phase": "Running", "attempt": 1}}
    seen["metadata"] |= {
        "uid": "b5",
        "generation": 2,
        "resourceVersion": "7",
        "creationTimestamp": "2026-11-21T09:02:52Z",
    }

    assert RLVRJob.model_validate(seen).metadata.generation == 2


def test_held_out_prompts_use_the_training_template_unless_they_have_their_own() -> None:
    source = {"procedural": {"task": "chain_sum", "size": 8}}
    train = source | {"template": {"plain": {"text": "{expression} ="}}}

    assert a_job(data={"train": train, "eval": source}).spec.data.eval_template.plain == PlainTemplate(
        text="{expression} ="
    )
    own = source | {"template": {"chat": {"system": "Add."}}}
    assert a_job(data={"train": train, "eval": own}).spec.data.eval_template.chat is not None


@pytest.mark.parametrize(("model", "one", "other"), ONE_OFS)
def test_exactly_one_member_of_a_choice_is_set(model: type[Model], one: dict[str, Any], other: dict[str, Any]) -> None:
    for single in (one, other):
        model.model_validate(single)
    for wrong in ({}, one | other):
        with pytest.raises(ValidationError, match="set exactly one of"):
            model.model_validate(wrong)


RULES: list[tuple[dict[str, Any], str]] = [
    ({"rollout": {"replicas": 1, "min": 2}}, "replicas 1 is below min 2"),
    ({"rollout": {"replicas": 3, "max": 2}}, "replicas 3 is above max 2"),
    ({"rollout": {"sampling": {"topK": 0}}}, "topK must be -1"),
    ({"rollout": {"sampling": {"maxTokens": 20000}}}, "tokenBudget 16384 cannot hold rollout.sampling.maxTokens 20000"),
    ({"model": {"builtin": "a", "maxContext": 64}}, "maxTokens 64 leaves no room for a prompt"),
    (
        {"training": {"steps": 3, "promptsPerStep": 4, "minibatches": 3}},
        "minibatches 3 does not divide promptsPerStep 4",
    ),
    ({"training": {"steps": 3, "optimizer": {"warmupSteps": 4}}}, "warmupSteps 4 is more than training.steps 3"),
    ({"learner": {"nodes": 2}}, "too few for nodes 2"),
    ({"reward": {"verifiers": [{"math": {}, "weight": 0}]}}, "needs a weight above 0"),
    ({"algorithm": {"trustRegion": {"dualClip": 0.5}}}, "dualClip 0.5 must be above 1"),
    ({"scheduling": {"gang": "kueue"}}, "gang kueue is admitted by a queue: set queueName"),
    ({"algorithm": {"preset": "laser"}}, "8192 tokens is not below"),
    (
        {"data": {"train": {"file": {"path": "a.jsonl"}}}, "reward": {"verifiers": [{"reasoningGym": {}}]}},
        "scores procedural tasks only",
    ),
]


@pytest.mark.parametrize(("sections", "message"), RULES)
def test_fields_that_contradict_each_other_are_refused(sections: dict[str, Any], message: str) -> None:
    assert message in problem_of(**sections)


@pytest.mark.parametrize(
    ("lora", "message"),
    [
        ({"rank": 0}, "training.lora.rank"),
        ({"alpha": 0}, "training.lora.alpha"),
        ({"targetModules": [""]}, "training.lora.targetModules"),
        ({"dropout": 0.1}, "training.lora.dropout"),
    ],
)
def test_adapters_that_cannot_be_are_refused(lora: dict[str, Any], message: str) -> None:
    assert message in problem_of(training={"steps": 3, "lora": lora})


def test_all_broken_rules_of_an_object_are_reported_together() -> None:
    text = problem_of(
        rollout={"sampling": {"maxTokens": 20000}}, algorithm={"preset": "archer", "kl": {"coefficient": 1}}
    )

    assert "tokenBudget" in text
    assert "klLowEntropy" in text


@pytest.mark.parametrize("value", [True, "3", 3.5, None])
def test_a_number_of_steps_is_a_whole_number_and_nothing_like_it(value: object) -> None:
    assert "training.steps" in problem_of(training={"steps": value})


def test_a_resolved_component_has_the_fields_that_a_user_writes_and_none_of_its_numbers_is_optional() -> None:
    for component in (OutcomeReward, Overlong, Advantage, TrustRegion, Kl, ImportanceSampling, EntropyBonus):
        written = component.__base__
        assert component.model_fields.keys() == written.model_fields.keys()
        numbers = component.model_fields.keys() - {"archer", "aspo"}
        assert all(component.model_fields[name].is_required() for name in numbers)


def test_progress_leaves_out_what_is_not_known() -> None:
    progress = Progress(attempt=0, step=0, total_steps=3, updated_at=1.0)

    written = json.loads(progress.model_dump_json(by_alias=True, exclude_none=True))
    assert "reward" not in written
    assert written["totalSteps"] == 3
    assert Progress.model_validate(written) == progress
