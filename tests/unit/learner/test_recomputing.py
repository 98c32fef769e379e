"""Activations that are computed again instead of being kept."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from learning import a_backend, a_dealing, a_recipe, random_facts, take
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.learner.backends.local import LocalBackend
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.microbatches import cut
from rlvr_trainer.learner.models import _enable_recomputing, load_policy
from rlvr_trainer.learner.step import Findings, Method


def a_step(backend: LocalBackend) -> Findings:
    method = Method(backend=backend, recipe=a_recipe(preset="highEntropy20"), reference=None)
    return take(method, random_facts(3), a_dealing(minibatches=2, token_budget=60), rate=0.02)


@pytest.mark.parametrize("packs", [False, True])
def test_recomputing_changes_no_bit_of_a_step(model_folder: Path, *, packs: bool) -> None:
    kept, again = (
        a_backend(model_folder, sgd=True, packs=packs, recomputes=recomputes) for recomputes in (False, True)
    )
    losses = [[(update.loss, update.gradient_norm) for update in a_step(backend).updates] for backend in (kept, again)]

    assert losses[0] == losses[1]
    assert all(torch.equal(weight, again.weights()[name]) for name, weight in kept.weights().items())


def kept_bytes(backend: LocalBackend) -> int:
    """What a pass keeps for its backward pass, each tensor once."""
    micro, held = cut(build_batch(random_facts(3), a_recipe()), tuple(range(16))), {}

    def keep(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        backend.statistics(micro)
    return sum(held.values())


def test_recomputing_keeps_less(model_folder: Path) -> None:
    kept, again = (kept_bytes(a_backend(model_folder, recomputes=recomputes)) for recomputes in (False, True))

    assert again < 0.5 * kept


def test_recomputing_drops_nothing_out(model_folder: Path) -> None:
    """Only layers that ask whether they are in training are told so; what could drop out is not."""
    model = load_policy(model_folder, temperature=1.0, recomputes=True).model

    assert {type(module).__name__ for module in model.modules() if module.training} == {
        "Qwen2Model",
        "Qwen2DecoderLayer",
    }


class Stubborn:
    supports_gradient_checkpointing = False


def test_a_model_that_cannot_recompute_is_refused_with_the_way_out() -> None:
    model: Any = Stubborn()

    with pytest.raises(InvalidInput, match=r"Stubborn cannot compute its activations again.*activationCheckpointing"):
        _enable_recomputing(model, Path("model"))
