import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, Gemma2Config, Gemma2ForCausalLM

from learning import VOCABULARY, a_model_folder
from rlvr_trainer.algorithms.logits import token_statistics
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.learner.models import load_policy

PROMPT, COMPLETION = [3, 1, 4], [1, 5, 9, 2]


def lengths(*each: int) -> torch.Tensor:
    return torch.tensor(each)


def places(row: int, width: int) -> torch.Tensor:
    start = row * width + len(PROMPT) - 1
    return torch.arange(start, start + len(COMPLETION))


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_statistics_are_those_of_the_dense_model_at_the_sampling_temperature(
    model_folder: Path, temperature: float
) -> None:
    tokens = torch.tensor([PROMPT + COMPLETION])
    with torch.no_grad():
        logits = AutoModelForCausalLM.from_pretrained(model_folder)(tokens).logits[0, 2:6].double() / temperature
        logprob, entropy = load_policy(model_folder, temperature=temperature)(
            tokens, lengths(7), places(0, 7), torch.tensor(COMPLETION)
        )

    dense = logits.log_softmax(-1)
    assert torch.allclose(logprob.double(), dense.gather(1, torch.tensor(COMPLETION)[:, None])[:, 0], atol=1e-5)
    assert torch.allclose(entropy.double(), -(dense.exp() * dense).sum(-1), atol=1e-5)


def test_padding_and_neighbours_change_nothing(model_folder: Path) -> None:
    policy, targets = load_policy(model_folder, temperature=1.0), torch.tensor(COMPLETION)
    padded = torch.zeros(2, 12, dtype=torch.long)
    padded[0] = torch.arange(12) % VOCABULARY
    padded[1, :7] = torch.tensor(PROMPT + COMPLETION)
    with torch.no_grad():
        alone, _ = policy(torch.tensor([PROMPT + COMPLETION]), lengths(7), places(0, 7), targets)
        together, _ = policy(padded, lengths(12, 7), places(1, 12), targets)

    assert torch.allclose(alone, together, atol=1e-6)


@pytest.mark.parametrize("num_rows", [1, 2, 5, 40])
def test_neighbours_and_the_width_of_a_pass_change_no_bit(model_folder: Path, num_rows: int) -> None:
    """Not even when a single token is asked about: a product of one row would have bits of its own."""
    policy = load_policy(model_folder, temperature=1.0)
    rows = torch.arange(num_rows * 61).view(num_rows, 61) * 7 % VOCABULARY
    rows[-1, :7] = torch.tensor(PROMPT + COMPLETION)
    with torch.no_grad():
        alone = policy(torch.tensor([PROMPT + COMPLETION]), lengths(7), places(0, 7)[:1], torch.tensor(COMPLETION[:1]))
        everywhere = torch.arange(num_rows * 60) + (num_rows - 1)
        together = policy(rows, lengths(*[61] * num_rows), everywhere, rows.flatten()[everywhere + 1])

    place = places(num_rows - 1, 61)[0] - everywhere[0]
    assert all(torch.equal(one, many[place : place + 1]) for one, many in zip(alone, together, strict=True))


def test_chunks_of_the_head_change_no_bit() -> None:
    """2,053 tokens are more than a chunk holds; a chunk of the last 5 would compute them with other bits."""
    hidden = torch.randn(2053, 256, generator=torch.Generator().manual_seed(0)) / 4
    weight, targets = hidden[:500].flip(1).contiguous(), torch.arange(2053) % 500
    whole = token_statistics(hidden, weight, targets)
    end = token_statistics(hidden[-40:], weight, targets[-40:])

    assert all(torch.equal(one[-40:], other) for one, other in zip(whole, end, strict=True))


def test_the_model_never_drops_out(model_folder: Path) -> None:
    assert not any(module.training for module in load_policy(model_folder, temperature=1.0).model.modules())


def broken(model_folder: Path, folder: Path, *, without: str = "") -> Path:
    shutil.copytree(model_folder, folder, dirs_exist_ok=True)
    if without:
        (folder / without).unlink()
    return folder


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_directory_without_a_file_is_refused_by_the_files_name(model_folder: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"no {name}"):
        load_policy(broken(model_folder, tmp_path, without=name), temperature=1.0)


def test_a_configuration_of_no_known_architecture_is_refused(model_folder: Path, tmp_path: Path) -> None:
    (broken(model_folder, tmp_path) / "config.json").write_text('{"model_type": "abacus"}')

    with pytest.raises(InvalidInput, match=r"cannot be loaded as a causal language model.*abacus"):
        load_policy(tmp_path, temperature=1.0)


def test_a_truncated_weight_file_is_refused(model_folder: Path, tmp_path: Path) -> None:
    weights = broken(model_folder, tmp_path) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])

    with pytest.raises(InvalidInput, match="cannot be loaded as a causal language model"):
        load_policy(tmp_path, temperature=1.0)


def test_weights_of_a_smaller_model_are_refused_by_the_first_missing_tensor(model_folder: Path, tmp_path: Path) -> None:
    config = broken(model_folder, tmp_path) / "config.json"
    deeper = json.loads(config.read_text()) | {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}
    config.write_text(json.dumps(deeper))

    with pytest.raises(InvalidInput, match=r"lack 12 of the tensors.*first model.layers.2.input_layernorm.weight"):
        load_policy(tmp_path, temperature=1.0)


def test_weights_of_another_width_are_refused(model_folder: Path, tmp_path: Path) -> None:
    config = broken(model_folder, tmp_path) / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"intermediate_size": 64}))

    with pytest.raises(InvalidInput, match="cannot be loaded as a causal language model"):
        load_policy(tmp_path, temperature=1.0)


def test_a_model_with_soft_capped_logits_is_refused(tmp_path: Path) -> None:
    shape = Gemma2Config(
        vocab_size=16,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=16,
        final_logit_softcapping=0.01,
    )
    Gemma2ForCausalLM(shape).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(InvalidInput, match="Gemma2ForCausalLM does more than a matrix product"):
        load_policy(tmp_path, temperature=1.0)


def test_a_tied_head_is_one_parameter(tmp_path: Path) -> None:
    policy = load_policy(a_model_folder(tmp_path, tied=True), temperature=1.0)

    assert "lm_head.weight" not in dict(policy.model.named_parameters())
