"""What a policy thinks of fixed tokens, and how far an engine may be from it."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.errors import TrainerError
from rlvr_trainer.storage.signatures import (
    SIGNATURE,
    TOLERANCES,
    Signature,
    difference,
    fixed_tokens,
    read_signature,
)
from rlvr_trainer.wire import to_json

SIGNED = Signature(token_ids=(1, 2, 3), logprobs=(-1.0, -2.0), tolerance=1e-4)


def test_the_tokens_are_the_same_for_every_policy_of_a_model() -> None:
    assert fixed_tokens(151_936) == fixed_tokens(151_936)
    assert fixed_tokens(40)[:4] == (1, 0, 39, 38)


@given(st.integers(1, 300_000), st.none() | st.integers(2, 100))
def test_they_are_tokens_of_the_vocabulary_and_fit_the_context_with_one_to_spare(
    vocabulary: int, context: int | None
) -> None:
    tokens = fixed_tokens(vocabulary, max_context=context)

    assert all(0 <= token < vocabulary for token in tokens)
    assert len(tokens) == min(32, context - 1 if context is not None else 32)


def test_of_a_large_vocabulary_they_are_all_different_and_from_everywhere() -> None:
    tokens = fixed_tokens(151_936)

    assert len(set(tokens)) == len(tokens)
    assert {token * 4 // 151_936 for token in tokens} == {0, 1, 2, 3}


def test_the_difference_is_the_mean_over_tokens_whatever_its_sign() -> None:
    assert difference(SIGNED, [-1.5, -1.7]) == pytest.approx(0.4)
    assert difference(SIGNED, SIGNED.logprobs) == 0.0


@pytest.mark.parametrize("logprobs", [[-1.0], [-1.0, -2.0, -3.0], [], [math.nan, -2.0], [-math.inf, -2.0]], ids=str)
def test_what_cannot_be_compared_is_infinitely_far(logprobs: list[float]) -> None:
    assert difference(SIGNED, logprobs) == math.inf


def test_float32_is_held_to_ten_thousandths() -> None:
    assert TOLERANCES["float32"] == 1e-4
    assert TOLERANCES["bfloat16"] > TOLERANCES["float32"]


def test_a_policy_may_be_signed_or_not(tmp_path: Path) -> None:
    assert read_signature(tmp_path) is None

    (tmp_path / SIGNATURE).write_bytes(to_json(SIGNED))

    assert read_signature(tmp_path) == SIGNED


def test_a_signature_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / SIGNATURE).write_text('{"tokenIds": [1]}')

    with pytest.raises(TrainerError, match="logprobs"):
        read_signature(tmp_path)
