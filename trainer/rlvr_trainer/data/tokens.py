"""Text to token ids and back, with the model's own tokenizer.json; transformers is not needed.

Also what the model's configuration says about ends and lengths.  Models that only have a slow tokenizer (a
SentencePiece or vocabulary file) must be converted once; the message says how.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from rlvr_trainer.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """A model's vocabulary and limits."""

    tokenizer: Tokenizer
    end_ids: frozenset[int]
    """Any of these ends a completion."""
    max_context: int | None
    """Prompt and completion tokens together that the model's configuration allows; absent when it does not say."""

    def encode(self, text: str, *, special_tokens: bool) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode(text, add_special_tokens=special_tokens).ids)

    def decode(self, token_ids: Sequence[int]) -> str:
        """Text of a completion, without the token that ended it."""
        ended = bool(token_ids) and token_ids[-1] in self.end_ids
        text: str = self.tokenizer.decode(list(token_ids[:-1] if ended else token_ids))
        return text


def open_tokens(folder: Path, *, more_end_ids: Sequence[int] = ()) -> Tokens:
    """The tokenizer and limits of the Hugging Face model in `folder`."""
    config = _read_json(folder / "config.json")
    generation = _read_json(folder / "generation_config.json") if (folder / "generation_config.json").exists() else {}
    end_ids = {*_ids(generation.get("eos_token_id")), *_ids(config.get("eos_token_id")), *more_end_ids}
    if not end_ids:
        raise InvalidInput(
            f"the model in {folder} names no end token (eos_token_id in generation_config.json or config.json), so no "
            "completion would ever stop. Add it there, or set spec.rollout.sampling.stopTokenIds."
        )
    return Tokens(
        tokenizer=_open_tokenizer(folder), end_ids=frozenset(end_ids), max_context=config.get("max_position_embeddings")
    )


def _open_tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise InvalidInput(
            f"the model in {folder} has no tokenizer.json. Write one with transformers: "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)."
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise InvalidInput(f"{path} is not a tokenizer: {error}. Fetch the model's files again.") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidInput(f"{path} does not exist. The model must be a Hugging Face model directory.") from error
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON: {error}. Fetch the model's files again.") from error
    return found


def _ids(value: Any) -> list[int]:
    if value is None:
        return []
    return [int(one) for one in value] if isinstance(value, list) else [int(value)]
