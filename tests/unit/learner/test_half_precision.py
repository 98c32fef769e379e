"""Updates that bfloat16 alone would lose are kept in the float32 weights and published when they have added up."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_api import OptimizerSpec
from rlvr_trainer.learner.backends.local import LocalBackend, make_optimizer
from rlvr_trainer.learner.models import load_policy

WEIGHT = "model.norm.weight"
STEP_BELOW_ONE = 2.0**-8
"""The next smaller bfloat16 than 1 is 1 - 2^-8."""


@settings(max_examples=30)
@given(halvings=st.integers(11, 16), updates=st.integers(1, 40))
def test_many_tiny_updates_move_the_weights_as_far_as_they_would_exactly(
    model_folder: Path, halvings: int, updates: int
) -> None:
    """With a constant gradient AdamW moves a weight by the learning rate, every time."""
    policy, rate = load_policy(model_folder, temperature=1.0), 2.0**-halvings
    parameter = dict(policy.model.named_parameters())[WEIGHT]
    torch.nn.init.ones_(parameter)
    optimizer = make_optimizer([parameter], OptimizerSpec())
    backend = LocalBackend(policy, optimizer, dtype=torch.bfloat16, max_grad_norm=1.0)
    for _ in range(updates):
        backend.backward(parameter.sum())
        backend.update(learning_rate=rate)

    alone = torch.ones(1, dtype=torch.bfloat16)
    assert torch.equal(alone - rate, alone), "bfloat16 alone would never move"
    assert float(1 - parameter.detach().mean()) == pytest.approx(updates * rate, rel=1e-3)
    published = backend.weights()[WEIGHT]
    assert torch.equal(published, parameter.detach().bfloat16())
    if updates * rate > STEP_BELOW_ONE:
        assert bool((published < 1).all())
