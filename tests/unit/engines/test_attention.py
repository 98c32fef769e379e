import math

import pytest
import torch
from torch import Tensor

from rlvr_trainer.engines.local.attention import attend, padded_keys, precision_of, visibility


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mask_of(positions: Tensor, num_keys: int) -> Tensor:
    return visibility(positions, num_keys=num_keys, dtype=torch.float64)


def plain(queries: Tensor, keys: Tensor, values: Tensor, length: int) -> Tensor:
    """Attention of [Q, R, H, G, D] over the first `length` keys, by the book."""
    scores = queries @ keys[:, :, :length].transpose(-1, -2) / math.sqrt(queries.shape[-1])
    return scores.softmax(-1) @ values[:, :, :length]


def test_with_one_visible_key_the_answer_is_its_value() -> None:
    values = random(1, 2, 32, 16)

    mixed = attend(random(1, 1, 2, 3, 16), random(1, 2, 32, 16), values, mask_of(torch.tensor([[0]]), 32))

    assert torch.equal(mixed[0, 0], values[0, :, :1].expand(2, 3, 16))


@pytest.mark.parametrize("length", [1, 31, 32, 256, 257, 600])
def test_it_is_softmax_attention_over_the_visible_keys(length: int) -> None:
    num_keys = padded_keys(length)
    queries = random(4, 5, 2, 3, 16)
    keys, values = random(5, 2, num_keys, 16, seed=1), random(5, 2, num_keys, 16, seed=2)

    mixed = attend(queries, keys, values, mask_of(torch.full((4, 5), length - 1), num_keys))

    assert torch.allclose(mixed, plain(queries, keys, values, length), atol=1e-14)


@pytest.mark.parametrize("per_head", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("furthest", [31, 279, 543])
def test_more_padding_company_and_positions_change_no_bit(per_head: int, size: int, furthest: int) -> None:
    queries = random(3, 9, 2, per_head, size)
    keys, values = random(9, 2, 640, size, seed=1), random(9, 2, 640, size, seed=2)
    positions = torch.tensor([[0, 5, 15, 16, 30, 10, 3, 2, 31]]) * furthest // torch.tensor([[31], [62], [93]])
    fewest = padded_keys(furthest + 1)

    def answer(num_positions: int, num_rows: int, num_keys: int) -> Tensor:
        mask = mask_of(positions[:num_positions, :num_rows], num_keys)
        seen = [cells[:num_rows, :, :num_keys] for cells in (keys, values)]
        return attend(queries[:num_positions, :num_rows], *seen, mask)

    expected = answer(3, 9, fewest)

    for num_keys in range(fewest + 32, 641, 64):
        assert torch.equal(answer(3, 9, num_keys), expected)
    for num_rows in (1, 2, 5):
        assert torch.equal(answer(1, num_rows, fewest), expected[:1, :num_rows])


def test_a_model_of_single_precision_attends_in_double() -> None:
    assert precision_of(torch.float32) is torch.float64
    assert precision_of(torch.bfloat16) is torch.bfloat16


def test_key_counts_are_padded_to_whole_steps() -> None:
    assert [padded_keys(n) for n in (1, 32, 33)] == [32, 32, 64]
