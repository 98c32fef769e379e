import json
from pathlib import Path
from typing import Any

import pytest

from rlvr_trainer.engines.local.architecture import read_architecture
from rlvr_trainer.errors import InvalidInput
from tiny_models import a_config


def write_config(folder: Path, **changes: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(a_config(**changes)))
    return folder


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_the_three_families_are_read(tmp_path: Path, family: str) -> None:
    architecture = read_architecture(write_config(tmp_path, model_type=family))

    assert (architecture.family, architecture.num_heads, architecture.queries_per_kv_head) == (family, 4, 2)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "gemma3"}, "'gemma3'"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"hidden_act": "gelu"}, "'gelu'"),
        ({"quantization_config": {"bits": 4}}, "quantization_config"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "'yarn'"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "partial_rotary_factor"),
    ],
    ids=str,
)
def test_what_it_cannot_run_is_refused_by_name_with_the_way_out(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidInput, match=r"rollout\.engine: vllm") as refusal:
        read_architecture(write_config(tmp_path, **changes))

    assert named in str(refusal.value)


@pytest.mark.parametrize("value", [None, 0, "64"])
def test_a_size_that_is_no_positive_number_is_named(tmp_path: Path, value: object) -> None:
    with pytest.raises(InvalidInput, match="hidden_size"):
        read_architecture(write_config(tmp_path, hidden_size=value))


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_config_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)

    with pytest.raises(InvalidInput, match=r"config\.json"):
        read_architecture(tmp_path)


def test_theta_is_found_in_either_style(tmp_path: Path) -> None:
    beside = read_architecture(write_config(tmp_path, rope_theta=5e5))
    within = read_architecture(
        write_config(tmp_path, rope_theta=None, rope_parameters={"rope_theta": 5e5, "rope_type": "default"})
    )

    assert beside.rope_theta == within.rope_theta == 5e5


@pytest.mark.parametrize(("declared", "expected"), [(None, (1,)), (7, (7,)), ([7, 8], (7, 8))])
def test_end_tokens_come_from_the_generation_config_first(
    tmp_path: Path, declared: object, expected: tuple[int, ...]
) -> None:
    write_config(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": declared}))

    assert read_architecture(tmp_path).end_token_ids == expected


def test_a_model_without_end_token_has_none(tmp_path: Path) -> None:
    assert read_architecture(write_config(tmp_path, eos_token_id=None)).end_token_ids == ()
