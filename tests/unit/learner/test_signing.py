from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from learning import VOCABULARY, a_backend, a_learner_job, a_model_folder
from rlvr_api import ModelSpec
from rlvr_trainer.learner.backends.local import open_backend
from rlvr_trainer.learner.signing import sign
from rlvr_trainer.storage.signatures import difference

SPEC = ModelSpec(path="model", dtype="float32")


def test_a_signature_is_what_the_dense_model_says_of_the_fixed_tokens(model_folder: Path) -> None:
    signature = sign(a_backend(model_folder), SPEC, vocabulary=VOCABULARY)
    tokens = torch.tensor([signature.token_ids])
    with torch.no_grad():
        logprobs = AutoModelForCausalLM.from_pretrained(model_folder)(tokens).logits[0, :-1].log_softmax(-1)
    expected = logprobs.gather(1, tokens[0, 1:, None])[:, 0].tolist()

    assert len(signature.token_ids) == 32 and set(signature.token_ids) <= set(range(VOCABULARY))
    assert difference(signature, expected) < 1e-5 < signature.tolerance


def test_it_is_asked_at_temperature_1_whatever_rollouts_sample_at(model_folder: Path) -> None:
    sampling = {"engine": "local", "sampling": {"maxTokens": 12, "temperature": 0.5}}
    spec = a_learner_job(model_folder, "file:///nowhere", rollout=sampling).spec
    backend = open_backend(model_folder, spec)

    assert sign(backend, spec.model, vocabulary=VOCABULARY) == sign(
        a_backend(model_folder), spec.model, vocabulary=VOCABULARY
    )


@pytest.mark.parametrize("packs", [False, True])
def test_other_weights_have_another_signature(model_folder: Path, tmp_path: Path, *, packs: bool) -> None:
    first = sign(a_backend(model_folder, packs=packs), SPEC, vocabulary=VOCABULARY)
    other = sign(a_backend(a_model_folder(tmp_path, seed=1), packs=packs), SPEC, vocabulary=VOCABULARY)

    assert difference(first, other.logprobs) > 100 * first.tolerance


def test_a_model_of_little_context_is_asked_about_fewer_tokens(model_folder: Path) -> None:
    short = ModelSpec(path="model", dtype="float32", max_context=9)

    assert len(sign(a_backend(model_folder), short, vocabulary=VOCABULARY).token_ids) == 8


def test_half_precision_is_judged_loosely(model_folder: Path) -> None:
    half = ModelSpec(path="model", dtype="bfloat16")

    assert sign(a_backend(model_folder), half, vocabulary=VOCABULARY).tolerance == 0.1
