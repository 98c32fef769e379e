"""Rows that lie end to end say what they say alone."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import MambaConfig, MambaForCausalLM

from learning import VOCABULARY, a_backend, a_dealing, a_model_folder, a_recipe, random_facts, take
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.microbatches import cut
from rlvr_trainer.learner.models import Policy, load_policy
from rlvr_trainer.learner.step import Method


@pytest.fixture(scope="module")
def packed(model_folder: Path) -> Policy:
    return load_policy(model_folder, temperature=1.0, packs=True)


@pytest.fixture(scope="module")
def padded(model_folder: Path) -> Policy:
    return load_policy(model_folder, temperature=1.0)


def rows_of(lengths: list[int], *, first: int = 1) -> Tensor:
    """Right-padded rows of tokens that follow from their place."""
    tokens = torch.arange(max(lengths))[None] * 7 + torch.arange(len(lengths))[:, None] * 5 + first
    return tokens % VOCABULARY * (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])


@torch.no_grad()
def asked(policy: Policy, lengths: list[int], tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Every token of every row but the first, row by row."""
    width = tokens.shape[1]
    places = torch.cat([torch.arange(length - 1) + row * width for row, length in enumerate(lengths)])
    found: tuple[Tensor, Tensor] = policy(tokens, torch.tensor(lengths), places, tokens.flatten()[places + 1])
    return found


@given(lengths=st.lists(st.integers(2, 30), min_size=1, max_size=6))
def test_packed_rows_say_bit_for_bit_what_padded_ones_say(padded: Policy, packed: Policy, lengths: list[int]) -> None:
    tokens = rows_of(lengths)

    for one, other in zip(asked(padded, lengths, tokens), asked(packed, lengths, tokens), strict=True):
        assert torch.equal(one, other)


def test_no_row_sees_the_one_before_it(packed: Policy) -> None:
    lengths, tokens = [9, 12, 5], rows_of([9, 12, 5])
    changed = tokens.clone()
    changed[0, :9] = (changed[0, :9] + 3) % VOCABULARY

    before, after = (asked(packed, lengths, rows)[0] for rows in (tokens, changed))
    assert not torch.equal(before[:8], after[:8])
    assert torch.equal(before[8:], after[8:])


def test_a_row_has_the_positions_that_it_has_alone(packed: Policy) -> None:
    """With positions that go on behind the row before, rotations would differ: here the second row equals the first."""
    tokens = rows_of([11, 11])
    tokens[1] = tokens[0]

    logprob, _ = asked(packed, [11, 11], tokens)
    assert torch.equal(logprob[:10], logprob[10:])


def test_pads_have_no_places_in_a_packed_pass(model_folder: Path) -> None:
    """What is computed is what there is, 16 places at least."""
    policy, seen = load_policy(model_folder, temperature=1.0, packs=True), []
    policy.model.base_model.embed_tokens.register_forward_hook(lambda _module, given, _found: seen.append(given[0]))
    asked(policy, [30, 2, 3], rows_of([30, 2, 3]))
    asked(policy, [4], rows_of([4]))

    assert [tuple(ids.shape) for ids in seen] == [(1, 35), (1, 16)]


@pytest.mark.parametrize("preset", ["dapo", "highEntropy20"])
def test_a_packed_step_is_the_padded_one(model_folder: Path, preset: str) -> None:
    ends = []
    for packs in (False, True):
        backend = a_backend(model_folder, sgd=True, packs=packs)
        dealing = a_dealing(minibatches=2, token_budget=50, packs=packs)
        method = Method(backend=backend, recipe=a_recipe(preset=preset), reference=None)
        found = take(method, random_facts(2), dealing, rate=0.02)
        ends.append((found.updates, backend.weights()))

    (padded_updates, padded_weights), (packed_updates, packed_weights) = ends
    for one, other in zip(padded_updates, packed_updates, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-6)
    assert max(float((padded_weights[k] - packed_weights[k]).abs().max()) for k in padded_weights) < 1e-6


def test_an_idle_pass_can_be_packed(model_folder: Path) -> None:
    batch = build_batch(random_facts(1), a_recipe())
    logprob, entropy = a_backend(model_folder, packs=True).statistics(cut(batch, ()))

    assert logprob.shape == entropy.shape == (0,)


def a_windowed_folder(folder: Path, *, window: int) -> Path:
    return a_model_folder(folder, use_sliding_window=True, sliding_window=window, max_window_layers=0)


def test_a_sliding_window_ends_where_it_does_in_a_padded_row(tmp_path: Path) -> None:
    folder = a_windowed_folder(tmp_path / "windowed", window=4)
    lengths, tokens = [20, 3, 11], rows_of([20, 3, 11])
    windowed = [asked(load_policy(folder, temperature=1.0, packs=packs), lengths, tokens)[0] for packs in (False, True)]
    unbounded = asked(
        load_policy(a_windowed_folder(tmp_path / "wide", window=64), temperature=1.0, packs=True), lengths, tokens
    )[0]

    assert torch.allclose(windowed[0], windowed[1], atol=1e-6)
    assert not torch.allclose(windowed[1], unbounded, atol=1e-3)


def test_a_model_whose_rows_would_see_each_other_is_refused_with_the_way_out(tmp_path: Path) -> None:
    """A state-space model carries its state from one row into the next."""
    torch.manual_seed(0)
    shape = MambaConfig(vocab_size=VOCABULARY, hidden_size=16, state_size=4, num_hidden_layers=1, dtype="float32")
    MambaForCausalLM(shape).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")

    with pytest.raises(
        InvalidInput, match=r"rows of MambaForCausalLM cannot lie end to end.*training.packing to false"
    ):
        load_policy(tmp_path, temperature=1.0, packs=True)
