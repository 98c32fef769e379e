"""What shape of decoder a Hugging Face `config.json` describes.

Covers the Llama, Qwen2 and Qwen3 families with full attention and plain or Llama 3 rotary positions.  Everything else
is refused by name, because a decoder that is almost right samples from the wrong policy without saying so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rlvr_trainer.errors import InvalidInput

FAMILIES: Final = ("llama", "qwen2", "qwen3")
_WAY_OUT: Final = "set rollout.engine: vllm, which runs it"


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeStretch:
    """Llama 3.1's stretching of low rotary frequencies."""

    factor: float
    low_frequency_factor: float
    high_frequency_factor: float
    original_context: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """Sizes and constants of one decoder."""

    family: str
    vocabulary: int
    hidden: int
    intermediate: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_context: int
    """Prompt and completion tokens together."""
    norm_epsilon: float
    rope_theta: float
    rope_stretch: RopeStretch | None
    tied_head: bool
    end_token_ids: tuple[int, ...]

    @property
    def queries_per_kv_head(self) -> int:
        return self.num_heads // self.num_kv_heads


def read_architecture(folder: Path) -> Architecture:
    """The decoder in `folder`; InvalidInput when the local engine cannot run it."""
    config = _read_json(folder / "config.json")
    family = config.get("model_type")
    _refuse_unsupported(config, family)
    heads = _number(config, "num_attention_heads")
    theta, stretch = _rope(config)
    return Architecture(
        family=str(family),
        vocabulary=_number(config, "vocab_size"),
        hidden=_number(config, "hidden_size"),
        intermediate=_number(config, "intermediate_size"),
        num_layers=_number(config, "num_hidden_layers"),
        num_heads=heads,
        num_kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or _number(config, "hidden_size") // heads,
        max_context=_number(config, "max_position_embeddings"),
        norm_epsilon=config.get("rms_norm_eps", 1e-6),
        rope_theta=theta,
        rope_stretch=stretch,
        tied_head=bool(config.get("tie_word_embeddings", False)),
        end_token_ids=_end_tokens(folder, config),
    )


def _refuse_unsupported(config: dict[str, Any], family: object) -> None:
    if family not in FAMILIES:
        raise InvalidInput(
            f"model_type {family!r} is not one the local engine runs ({', '.join(FAMILIES)}); {_WAY_OUT}."
        )
    if config.get("use_sliding_window"):
        raise InvalidInput(f"use_sliding_window: true needs an attention the local engine has not; {_WAY_OUT}.")
    activation = config.get("hidden_act", "silu")
    if activation != "silu":
        raise InvalidInput(f"hidden_act {activation!r} is not silu, the only one the local engine has; {_WAY_OUT}.")
    if "quantization_config" in config:
        raise InvalidInput(f"quantized weights (quantization_config) are not for the local engine; {_WAY_OUT}.")


def _rope(config: dict[str, Any]) -> tuple[float, RopeStretch | None]:
    """Theta and stretch from either style: `rope_parameters` or `rope_theta` beside `rope_scaling`."""
    described = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = float(described.get("rope_theta") or config.get("rope_theta") or 10000.0)
    kind = described.get("rope_type", described.get("type", "default"))
    if described.get("partial_rotary_factor", 1.0) != 1.0:
        raise InvalidInput(f"partial_rotary_factor below 1 is not for the local engine; {_WAY_OUT}.")
    if kind == "default":
        return theta, None
    if kind == "llama3":
        return theta, RopeStretch(
            factor=described["factor"],
            low_frequency_factor=described["low_freq_factor"],
            high_frequency_factor=described["high_freq_factor"],
            original_context=described["original_max_position_embeddings"],
        )
    raise InvalidInput(f"rope_type {kind!r} is not default or llama3, the two the local engine has; {_WAY_OUT}.")


def _end_tokens(folder: Path, config: dict[str, Any]) -> tuple[int, ...]:
    generation = folder / "generation_config.json"
    declared = _read_json(generation).get("eos_token_id") if generation.is_file() else None
    ids = declared if declared is not None else config.get("eos_token_id")
    if ids is None:
        return ()
    return tuple(ids) if isinstance(ids, list) else (int(ids),)


def _number(config: dict[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value <= 0:
        raise InvalidInput(f"config.json has {key}: {value!r}; a decoder needs a positive whole number there.")
    return value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as JSON: {error}. Write it anew with save_pretrained().") from error
    if not isinstance(content, dict):
        raise InvalidInput(f"{path} holds a {type(content).__name__}, not an object; write it anew.")
    return content
