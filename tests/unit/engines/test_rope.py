import math

import pytest
import torch

from rlvr_trainer.engines.local.architecture import Architecture, RopeStretch
from rlvr_trainer.engines.local.rope import rope_tables, rotate


def an_architecture(*, stretch: RopeStretch | None = None) -> Architecture:
    return Architecture(
        family="llama",
        vocabulary=10,
        hidden=8,
        intermediate=8,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        head_dim=4,
        max_context=64,
        norm_epsilon=1e-6,
        rope_theta=100.0,
        rope_stretch=stretch,
        tied_head=False,
        end_token_ids=(),
    )


def turned(head: list[float], position: int, *, stretch: RopeStretch | None = None) -> torch.Tensor:
    tables = rope_tables(an_architecture(stretch=stretch), positions=64, dtype=torch.float32)
    cosine, sine = tables.cosine_CD[position], tables.sine_CD[position]
    return rotate(torch.tensor([[head]]), cosine[None, None], sine[None, None])[0, 0]


def test_pairs_turn_by_position_times_their_frequency() -> None:
    # Dimensions (0, 2) turn by p, (1, 3) by p / sqrt(theta) = p / 10.
    head = turned([1.0, 1.0, 0.0, 0.0], 3)

    expected = [math.cos(3), math.cos(0.3), math.sin(3), math.sin(0.3)]
    assert head.tolist() == pytest.approx(expected, abs=1e-6)


def test_turning_keeps_lengths_and_only_distance_matters() -> None:
    query, key = [0.3, -1.2, 0.7, 0.4], [1.1, 0.2, -0.5, 0.9]

    assert turned(query, 17).norm() == pytest.approx(torch.tensor(query).norm().item(), abs=1e-6)
    near, far = (turned(query, at + 5) @ turned(key, at) for at in (0, 40))
    assert near.item() == pytest.approx(far.item(), abs=1e-5)


def test_a_stretch_slows_long_waves_and_leaves_short_ones() -> None:
    stretch = RopeStretch(factor=8.0, low_frequency_factor=1.0, high_frequency_factor=4.0, original_context=40)
    # Wavelengths are 2 pi (short: below 40 / 4) and 20 pi (long: above 40 / 1).
    head = turned([1.0, 1.0, 0.0, 0.0], 3, stretch=stretch)

    assert head.tolist() == pytest.approx([math.cos(3), math.cos(0.3 / 8), math.sin(3), math.sin(0.3 / 8)], abs=1e-6)
