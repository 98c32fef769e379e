"""The overlap of a policy's most uncertain tokens with the base model's."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from learning import a_backend, a_dealing, a_model_folder, a_recipe, random_facts
from rlvr_trainer.learner.backends.local import LocalBackend
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.microbatches import plan_step
from rlvr_trainer.learner.probe import Probe, load_probe, overlap_with_base, probe_of, save_probe, spread
from rlvr_trainer.learner.step import Method, prepare

FACTS = random_facts(1, num_groups=12)


def a_probe(backend: LocalBackend) -> Probe:
    recipe = a_recipe(preset="highEntropy20")
    batch = build_batch(FACTS, recipe)
    plan = plan_step(batch, a_dealing(), step=1)
    return probe_of(prepare(batch, plan, Method(backend=backend, recipe=recipe, reference=None)))


def test_a_probe_is_a_few_completions_and_their_most_uncertain_fifth(model_folder: Path) -> None:
    probe = a_probe(a_backend(model_folder))

    num_tokens = int(probe.completion_lengths_B.sum())
    assert len(probe.tokens_BS) == 32
    assert int(probe.uncertain_BT.sum()) == int(num_tokens * 0.2 + 0.9999)


def test_a_probe_takes_its_completions_from_as_many_prompts_as_it_can() -> None:
    assert spread(256, 32) == list(range(0, 256, 8))
    assert spread(48, 32)[:5] == [0, 1, 3, 4, 6]
    assert spread(5, 32) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("token_budget", [1, 100, 100_000])
def test_the_base_model_overlaps_with_itself_entirely(model_folder: Path, token_budget: int) -> None:
    backend = a_backend(model_folder)

    assert overlap_with_base(a_probe(backend), backend, token_budget=token_budget) == 1


def test_another_model_shares_some_of_it(model_folder: Path, tmp_path: Path) -> None:
    other = a_backend(a_model_folder(tmp_path, seed=1))

    assert 0 < overlap_with_base(a_probe(a_backend(model_folder)), other, token_budget=100) < 0.9


def test_overlap_is_the_share_of_the_base_models_tokens(model_folder: Path) -> None:
    """Half of its tokens are taken for others that the policy is certain of."""
    backend = a_backend(model_folder)
    probe = a_probe(backend)
    places = probe.uncertain_BT.nonzero()
    halved_BT = probe.uncertain_BT.clone()
    halved_BT[tuple(places[: len(places) // 2].T)] = False
    mask_BT = probe.batch(backend.device).mask_BT
    certain = (mask_BT & ~probe.uncertain_BT).nonzero()[: len(places) // 2]
    halved_BT[tuple(certain.T)] = True

    share = overlap_with_base(replace(probe, uncertain_BT=halved_BT), backend, token_budget=100)

    assert share == pytest.approx(1 - (len(places) // 2) / len(places))


def test_a_probe_survives_a_file(model_folder: Path, tmp_path: Path) -> None:
    probe = a_probe(a_backend(model_folder))
    save_probe(tmp_path / "probe.safetensors", probe)
    loaded = load_probe(tmp_path / "probe.safetensors")

    for name in Probe.__dataclass_fields__:
        assert torch.equal(getattr(loaded, name), getattr(probe, name))


def test_asking_leaves_no_gradient_behind(model_folder: Path) -> None:
    backend = a_backend(model_folder)
    overlap_with_base(a_probe(backend), backend, token_budget=100)

    assert all(parameter.grad is None for parameter in backend._policy.parameters())
