"""Everything that a job is made of, with the place each number comes from."""

from typing import get_args

import pytest

from builders import a_job
from rlvr_api.algorithm import Preset
from rlvr_api.recipe import resolve
from rlvr_trainer.cli.explain import engine_lines, explain, recipe_rows, spec_rows


def rows_of(text: str) -> dict[str, str]:
    """Path -> the rest of its line."""
    lines = (line.partition(" ") for line in text.splitlines() if line.startswith("spec."))
    return {path: " ".join(rest.split()) for path, _, rest in lines}


@pytest.mark.parametrize("preset", get_args(Preset))
def test_every_number_has_a_value_and_a_source(preset: Preset) -> None:
    job = a_job(algorithm={"preset": preset}, rollout={"sampling": {"maxTokens": 10000}})

    rows = [*recipe_rows(resolve(job.spec.algorithm)), *spec_rows(job.spec)]

    assert all(row.value and row.source for row in rows)
    assert rows_of(explain(job)).keys() == {row.path for row in rows}


def test_a_number_names_the_paper_the_manifest_line_or_the_default() -> None:
    job = a_job(algorithm={"preset": "dapo", "trustRegion": {"clipHigh": 0.3}})

    rows = rows_of(explain(job, line_of={"spec.algorithm.trustRegion.clipHigh": 12}.get))

    assert rows["spec.algorithm.trustRegion.clipLow"] == "0.2 DAPO 2503.14476, section 4.1"
    assert rows["spec.algorithm.trustRegion.clipHigh"] == "0.3 manifest, line 12"
    assert rows["spec.training.steps"] == "3 manifest"
    assert rows["spec.training.epochs"] == "1 default"


def test_a_number_that_another_setting_makes_idle_says_so() -> None:
    rows = rows_of(explain(a_job(algorithm={"preset": "archer"})))

    assert "archer clips by entropy class" in rows["spec.algorithm.trustRegion.clipLow"]
    assert "importanceSampling is off" in rows["spec.algorithm.importanceSampling.cap"]
    assert "not used" not in rows["spec.algorithm.kl.estimator"]


def test_a_step_is_counted_out_in_completions_and_tokens() -> None:
    text = explain(a_job(training={"steps": 10, "promptsPerStep": 32, "groupSize": 8, "minibatches": 2}))

    assert "32 prompts x 8 = 256 completions of at most 64 tokens = at most 16,384 completion tokens" in text
    assert "2 optimizer updates" in text
    assert "10 steps = 320 groups" in text


def test_adapters_are_explained_with_their_scale_and_place() -> None:
    training = {"steps": 3, "lora": {"rank": 8, "targetModules": ["q_proj", "v_proj"]}}
    text = explain(a_job(training=training, algorithm={"preset": "grpo"}))

    rows = rows_of(text)
    assert rows["spec.training.lora.rank"] == "8 manifest" and rows["spec.training.lora.alpha"] == "32 default"
    assert rows["spec.training.lora.targetModules"] == '["q_proj", "v_proj"] manifest'
    assert "Trained: adapters of rank 8 beside q_proj, v_proj, counted 32 / 8 = 4 times." in text
    assert "Reference model: needed for the KL term; the policy's own weights without the adapters." in text


def test_without_adapters_every_weight_is_trained() -> None:
    assert "Trained: every weight." in explain(a_job())
    assert "beside every linear layer but the output head" in explain(a_job(training={"steps": 3, "lora": {}}))


def test_the_size_of_the_published_run_is_shown_beside_ones_own() -> None:
    assert "Published run of dapo: 512 prompts x 16" in explain(a_job(algorithm={"preset": "dapo"}))


def test_every_argument_of_vllm_is_shown_with_its_reason() -> None:
    container = {"name": "engine", "resources": {"limits": {"nvidia.com/gpu": "4"}}}
    job = a_job(rollout={"engine": "vllm", "maxConcurrent": 96, "template": {"spec": {"containers": [container]}}})

    lines = explain(job).splitlines()

    assert any(line.split() == ["--max-num-seqs", "96", "spec.rollout.maxConcurrent"] for line in lines)
    assert any(line.split()[:3] == ["--tensor-parallel-size", "4", "accelerators"] for line in lines)


def test_the_local_engine_has_no_arguments_to_explain() -> None:
    assert list(engine_lines(a_job().spec)) == []
