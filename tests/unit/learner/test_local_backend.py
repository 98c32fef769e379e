from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from learning import a_backend, a_model_folder, a_recipe, random_facts, train
from rlvr_api import OptimizerSpec
from rlvr_trainer.errors import CorruptArtifact
from rlvr_trainer.learner.backends.base import Diverged
from rlvr_trainer.learner.backends.local import LocalBackend, make_optimizer
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.microbatches import cut
from rlvr_trainer.learner.models import load_policy


def test_vectors_do_not_decay(model_folder: Path) -> None:
    policy = load_policy(model_folder, temperature=1.0)
    decayed, spared = make_optimizer(policy.parameters(), OptimizerSpec(weight_decay=0.1)).param_groups

    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in decayed["params"]} == {2} and {p.ndim for p in spared["params"]} == {1}
    assert len(decayed["params"]) + len(spared["params"]) == len(list(policy.parameters()))


def test_a_first_update_moves_every_weight_by_the_learning_rate(model_folder: Path) -> None:
    """Adam's first step is lr * sign(gradient), here without decay for the vectors."""
    backend = a_backend(model_folder)
    before = backend.weights()["model.norm.weight"].clone()
    train(backend, 1)

    moved = (backend.weights()["model.norm.weight"] - before).abs()
    assert torch.allclose(moved, torch.full_like(moved, 0.01), rtol=1e-3)


def test_gradients_are_scaled_down_to_the_limit_and_their_norm_is_told_unscaled(model_folder: Path) -> None:
    free, limited = a_backend(model_folder, sgd=True), a_backend(model_folder, sgd=True, max_grad_norm=0.5)
    norms = []
    for backend in (free, limited):
        before = backend.weights()["lm_head.weight"].clone()
        parameter = dict(backend._policy.model.named_parameters())["lm_head.weight"]
        backend.backward((parameter * 2.0).sum())
        norms.append(backend.update(learning_rate=1.0))
        moved = (backend.weights()["lm_head.weight"] - before).norm()
        assert float(moved) == pytest.approx(norms[-1] if backend is free else 0.5, rel=1e-4)

    assert norms[0] == norms[1] > 0.5


def test_a_gradient_that_is_no_number_is_forgotten_and_reported(model_folder: Path) -> None:
    backend = a_backend(model_folder)
    before = backend.weights()["model.norm.weight"].clone()
    parameter = dict(backend._policy.model.named_parameters())["model.norm.weight"]
    backend.backward(parameter.sum() * torch.inf)

    with pytest.raises(Diverged, match="the gradient norm is"):
        backend.update(learning_rate=1.0)

    assert parameter.grad is None and torch.equal(parameter, before)


def test_what_is_saved_continues_bit_for_bit(model_folder: Path, tmp_path: Path) -> None:
    straight, resumed = a_backend(model_folder), a_backend(model_folder)
    train(straight, 1)
    straight.save(tmp_path)
    resumed.load(tmp_path)
    for backend in (straight, resumed):
        train(backend, 2)

    assert all(torch.equal(weight, resumed.weights()[name]) for name, weight in straight.weights().items())


def test_the_size_of_a_checkpoint_is_known_before_it_is_written(model_folder: Path, tmp_path: Path) -> None:
    backend = a_backend(model_folder)
    train(backend, 1)
    backend.save(tmp_path)

    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert backend.num_bytes <= written <= backend.num_bytes + 30_000


def test_weights_of_another_model_are_refused(model_folder: Path, tmp_path: Path) -> None:
    a_backend(a_model_folder(tmp_path / "tied", tied=True)).save(tmp_path)

    with pytest.raises(CorruptArtifact, match=r"does not fit the base model: lm_head.weight"):
        a_backend(model_folder).load(tmp_path)


def test_bfloat16_computes_and_publishes_in_half_precision_and_keeps_whole_weights(
    model_folder: Path, tmp_path: Path
) -> None:
    policy = load_policy(model_folder, temperature=1.0)
    optimizer = make_optimizer(policy.parameters(), OptimizerSpec())
    half = LocalBackend(policy, optimizer, dtype=torch.bfloat16, max_grad_norm=1.0)
    whole = a_backend(model_folder)
    micro = cut(build_batch(random_facts(1), a_recipe()), (0, 1, 2))
    with torch.no_grad():
        rounded, exact = half.statistics(micro)[0], whole.statistics(micro)[0]
    train(half, 1)
    half.save(tmp_path)

    assert 0 < float((rounded - exact).abs().max()) < 0.5
    assert {weight.dtype for weight in half.weights().values()} == {torch.bfloat16}
    assert {weight.dtype for weight in load_file(tmp_path / "model.safetensors").values()} == {torch.float32}
