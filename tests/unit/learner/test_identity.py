from pathlib import Path
from typing import Any

import pytest

from learning import a_learner_job
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.learner.identity import accept, accept_own, job_digest
from rlvr_trainer.storage.checkpoints import Manifest


def digest(**spec: Any) -> str:
    return job_digest(a_learner_job(Path("/models/base"), "file:///checkpoints", **spec).spec)


TRAINING = {"steps": 6, "promptsPerStep": 4, "groupSize": 4}
PROMPTS = {"procedural": {"task": "chain_sum", "size": 10}}


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": {"preset": "dapo", "trustRegion": {"clipHigh": 0.3}}},
        {"model": {"builtin": "arithmetic"}},
        {"training": {**TRAINING, "seed": 1}},
        {"training": {**TRAINING, "lora": {}}},
        {"data": {"train": {"procedural": {"task": "chain_sum", "size": 11}}}},
        {"data": {"train": {**PROMPTS, "template": {"plain": {"text": "Q: {question}"}}}}},
    ],
)
def test_another_model_algorithm_prompt_or_seed_is_another_job(change: dict[str, Any]) -> None:
    assert digest(**change) != digest(training=TRAINING)


@pytest.mark.parametrize(
    "change",
    [
        {"training": {**TRAINING, "steps": 60, "optimizer": {"learningRate": 0.5}}},
        {"rollout": {"engine": "local", "replicas": 3, "sampling": {"maxTokens": 12}}},
        {"algorithm": {"preset": "dapo", "trustRegion": {"clipHigh": 0.28}}},
        {"data": {"train": PROMPTS, "eval": PROMPTS}},
    ],
)
def test_what_may_change_between_attempts_leaves_it_the_same_job(change: dict[str, Any]) -> None:
    assert digest(**change) == digest(training=TRAINING)


@pytest.mark.parametrize("other", [{"rank": 8}, {"alpha": 16.0}, {"targetModules": ["q_proj"]}])
def test_other_adapters_are_another_job(other: dict[str, Any]) -> None:
    assert digest(training={**TRAINING, "lora": other}) != digest(training={**TRAINING, "lora": {}})


def test_adapters_written_out_as_they_are_by_default_are_the_same_job() -> None:
    written = {"rank": 32, "alpha": 32, "targetModules": []}

    assert digest(training={**TRAINING, "lora": written}) == digest(training={**TRAINING, "lora": {}})


def a_manifest(job_digest: str, *, run: str = "") -> Manifest:
    return Manifest(attempt=0, job_digest=job_digest, world_size=1, run=run, step=7, files={})


def test_a_checkpoint_of_this_job_is_accepted() -> None:
    assert accept(a_manifest("abc"), digest="abc")


def test_a_checkpoint_of_another_job_is_refused_with_both_names() -> None:
    with pytest.raises(InvalidInput, match=r"step 7 belongs to job abcabcabcabc, this is job defdefdefdef"):
        accept(a_manifest("abc" * 20), digest="def" * 20)


def test_a_checkpoint_of_this_run_is_its_own() -> None:
    assert accept_own(a_manifest("abc", run="mine"), run="mine")


@pytest.mark.parametrize(("wrote", "reads"), [("mine", "yours"), ("mine", ""), ("", "yours"), ("", "")])
def test_a_checkpoint_of_another_or_an_unknown_run_is_not(wrote: str, reads: str) -> None:
    with pytest.raises(InvalidInput, match="a checkpoint of step 7 from another run"):
        accept_own(a_manifest("abc", run=wrote), run=reads)
