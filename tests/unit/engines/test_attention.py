import pytest
import torch
from torch import Tensor

from rlvr_trainer.engines.local.attention import attend, padded_keys, visibility


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def mask_of(positions: Tensor, num_keys: int) -> Tensor:
    return visibility(positions, num_keys=num_keys, dtype=torch.float32)


def plain(queries: Tensor, keys: Tensor, values: Tensor, length: int) -> Tensor:
    """Attention of [Q, R, H, G, D] over the first `length` keys, by the book, in float64."""
    scores = queries.double() @ keys[:, :, :length].double().transpose(-1, -2)
    return scores.softmax(-1) @ values[:, :, :length].double()


def test_with_one_visible_key_the_answer_is_its_value() -> None:
    values = random(1, 2, 32, 16)

    mixed = attend(random(1, 1, 2, 3, 16), random(1, 2, 32, 16), values, mask_of(torch.tensor([[0]]), 32))

    assert torch.equal(mixed[0, 0], values[0, :, :1].expand(2, 3, 16))


@pytest.mark.parametrize("length", [1, 31, 32, 256, 257, 600])
def test_it_is_softmax_attention_over_the_visible_keys(length: int) -> None:
    num_keys = padded_keys(length)
    queries = random(4, 5, 2, 3, 16) * 0.3
    keys, values = random(5, 2, num_keys, 16, seed=1), random(5, 2, num_keys, 16, seed=2)

    mixed = attend(queries, keys, values, mask_of(torch.full((4, 5), length - 1), num_keys))

    assert torch.allclose(mixed.double(), plain(queries, keys, values, length), atol=1e-6)


@pytest.mark.parametrize("per_head", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [16, 32, 64, 128])
def test_more_padding_company_and_positions_change_no_bit(per_head: int, size: int) -> None:
    queries = random(3, 9, 2, per_head, size)
    keys, values = random(9, 2, 640, size, seed=1), random(9, 2, 640, size, seed=2)
    positions = torch.tensor([[0, 5, 15, 16, 30, 10, 3, 2, 31]]) // torch.tensor([[1], [2], [3]])

    def answer(num_positions: int, num_rows: int, num_keys: int) -> Tensor:
        mask = mask_of(positions[:num_positions, :num_rows], num_keys)
        seen = [cells[:num_rows, :, :num_keys] for cells in (keys, values)]
        return attend(queries[:num_positions, :num_rows], *seen, mask)

    expected = answer(3, 9, 32)

    for num_keys in (64, 96, 256, 288, 640):
        assert torch.equal(answer(3, 9, num_keys), expected)
    for num_rows in (1, 2, 5):
        assert torch.equal(answer(1, num_rows, 32), expected[:1, :num_rows])


def test_key_counts_are_padded_to_whole_steps() -> None:
    assert [padded_keys(n) for n in (1, 32, 33)] == [32, 32, 64]
