"""What is decided before DeepSpeed is asked, and that it compiles nothing."""

import inspect
import sys
from typing import Any

import pytest
import torch

from rlvr_api import OptimizerSpec

zero = pytest.importorskip("rlvr_trainer.learner.backends.zero", reason="DeepSpeed is not installed")


def a_configuration(*, stage: int = 2, offload: bool = False, half: bool = False) -> dict[str, Any]:
    shapes = [(8, 4), (4,), (16,), (2, 2)]
    found: dict[str, Any] = zero.configuration(
        [torch.empty(shape) for shape in shapes],
        OptimizerSpec(max_grad_norm=0.5),
        stage=stage,
        offload=offload,
        half=half,
    )
    return found


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_the_stage_and_the_clip_are_the_manifests(stage: int) -> None:
    config = a_configuration(stage=stage)

    assert config["zero_optimization"]["stage"] == stage
    assert config["gradient_clipping"] == 0.5


def test_stage_3_keeps_vectors_whole_and_shards_every_matrix() -> None:
    assert a_configuration()["zero_optimization"]["stage3_param_persistence_threshold"] == 16


def test_the_optimizer_state_goes_to_host_memory_only_when_asked() -> None:
    assert "offload_optimizer" not in a_configuration()["zero_optimization"]
    assert a_configuration(offload=True)["zero_optimization"]["offload_optimizer"] == {"device": "cpu"}


@pytest.mark.parametrize(("half", "stage", "gradients"), [(False, 2, None), (True, 1, None), (True, 2, "fp32")])
def test_bfloat16_sums_gradients_in_float32_where_that_keeps_them_sharded(
    stage: int, gradients: str | None, *, half: bool
) -> None:
    config = a_configuration(stage=stage, half=half)

    assert config["bf16"]["enabled"] is half and config["data_types"]["grad_accum_dtype"] == gradients


def test_updates_are_counted_by_us() -> None:
    config = a_configuration()

    assert config["gradient_accumulation_steps"] == 1 and not config["managed_gradient_accumulation"]


def test_deepspeed_still_asks_the_table_of_what_can_be_compiled() -> None:
    """The table is private; should DeepSpeed look elsewhere, it would run a compiler unasked."""
    zero.refuse_compilation()

    assert zero.deepspeed.ops.__compatible_ops__ == {}
    assert "deepspeed.ops.__compatible_ops__" in inspect.getsource(sys.modules["deepspeed.comm.torch"])
