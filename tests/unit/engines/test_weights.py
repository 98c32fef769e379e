from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rlvr_trainer.engines.local.architecture import read_architecture
from rlvr_trainer.engines.local.weights import Weights, load_weights
from rlvr_trainer.errors import CorruptArtifact, InvalidInput
from tiny_models import write_model


def load(folder: Path) -> Weights:
    return load_weights(folder, read_architecture(folder), dtype=torch.float32)


def rewrite(folder: Path, **changes: torch.Tensor | None) -> None:
    """Replace or (None) remove tensors; `__` stands for a dot."""
    tensors: dict[str, Any] = load_file(folder / "model.safetensors")
    tensors |= {name.replace("__", "."): tensor for name, tensor in changes.items()}
    save_file({name: t for name, t in tensors.items() if t is not None}, folder / "model.safetensors")


def test_projections_are_fused_as_they_are(tmp_path: Path) -> None:
    tensors = load_file(write_model(tmp_path) / "model.safetensors")

    layer = load(tmp_path).layers[1]

    attention = "model.layers.1.self_attn."
    assert torch.equal(layer.qkv.weight[:64], tensors[f"{attention}q_proj.weight"])
    assert torch.equal(layer.qkv.weight[64:96], tensors[f"{attention}k_proj.weight"])
    assert torch.equal(layer.qkv.weight[96:], tensors[f"{attention}v_proj.weight"])
    assert layer.qkv.bias is not None
    assert torch.equal(layer.qkv.bias[:64], tensors[f"{attention}q_proj.bias"])
    assert torch.equal(layer.gate_up.weight[96:], tensors["model.layers.1.mlp.up_proj.weight"])


def test_queries_have_a_norm_where_the_family_norms_them(tmp_path: Path) -> None:
    tensors = load_file(write_model(tmp_path, model_type="qwen3") / "model.safetensors")

    layer = load(tmp_path).layers[0]

    assert layer.query_norm is not None
    assert torch.equal(layer.query_norm, tensors["model.layers.0.self_attn.q_norm.weight"])
    assert layer.qkv.bias is None


def test_a_tied_head_is_the_embedding_even_when_a_copy_was_saved(tmp_path: Path) -> None:
    write_model(tmp_path, tie_word_embeddings=True)
    rewrite(tmp_path, lm_head__weight=torch.zeros(40, 64))

    weights = load(tmp_path)

    assert weights.head is weights.embedding


def test_a_bias_that_only_some_projections_have_is_zero_for_the_others(tmp_path: Path) -> None:
    write_model(tmp_path, model_type="llama")
    rewrite(tmp_path, model__layers__0__self_attn__v_proj__bias=torch.ones(32))

    bias = load(tmp_path).layers[0].qkv.bias

    assert bias is not None
    assert bias.tolist() == [0.0] * 96 + [1.0] * 32


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    write_model(tmp_path)
    rewrite(tmp_path, model__layers__1__mlp__down_proj__weight=None)

    with pytest.raises(InvalidInput, match=r"model\.layers\.1\.mlp\.down_proj\.weight"):
        load(tmp_path)


def test_a_tensor_nobody_would_use_is_refused(tmp_path: Path) -> None:
    write_model(tmp_path)
    rewrite(tmp_path, model__layers__0__self_attn__sinks=torch.zeros(4))

    with pytest.raises(InvalidInput, match=r"self_attn\.sinks"):
        load(tmp_path)


def test_a_tensor_of_the_wrong_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    write_model(tmp_path)
    rewrite(tmp_path, model__norm__weight=torch.zeros(63))

    with pytest.raises(InvalidInput, match=r"model\.norm\.weight.*\(63,\).*\(64,\)"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not safetensors at all"])
def test_a_broken_file_is_a_corrupt_artifact(tmp_path: Path, content: bytes) -> None:
    write_model(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(CorruptArtifact, match=r"model\.safetensors"):
        load(tmp_path)


def test_a_missing_file_is_a_corrupt_artifact(tmp_path: Path) -> None:
    write_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()

    with pytest.raises(CorruptArtifact, match=r"model\.safetensors"):
        load(tmp_path)
