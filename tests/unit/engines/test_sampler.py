import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rlvr_trainer.engines.local.sampler import Filters, Forks, entropies, sample, temperatures_by_entropy, uniforms

VECTORS = Path(__file__).parents[2] / "golden" / "vectors.json"
GOLDEN = [
    [0.014033029194273183, 0.8662403237905671, 0.2610321386862893],
    [0.5234631702540575, 0.10913886432944153, 0.8916020079350773],
]


def noise_of(*seeds: int, index: int = 0) -> torch.Tensor:
    indices = np.full(len(seeds), index, dtype=np.uint64)
    return torch.from_numpy(uniforms(np.array(seeds, dtype=np.uint64), indices))


def filters_of(*, top_k: int = 99, top_p: float = 1.0, rows: int = 1) -> Filters:
    return Filters(top_k=torch.full((rows,), top_k), top_p=torch.full((rows,), top_p, dtype=torch.float64))


def forks_of(*thresholds: float, temperature: float) -> Forks:
    return Forks(
        thresholds=torch.tensor(thresholds, dtype=torch.float64),
        temperatures=torch.full((len(thresholds),), temperature),
    )


def test_the_noise_of_a_seed_and_an_index_is_fixed_for_ever() -> None:
    # Changing these numbers changes every run that anybody wants to repeat.
    assert noise_of(0, 1, 2**64 - 1).tolist() == GOLDEN[0]
    assert noise_of(0, 1, 2**64 - 1, index=5).tolist() == GOLDEN[1]


def test_noise_is_uniform_and_independent_over_seeds_and_indices() -> None:
    seeds, indices = np.meshgrid(np.arange(400, dtype=np.uint64), np.arange(400, dtype=np.uint64))
    drawn = uniforms(seeds, indices)

    histogram = np.histogram(drawn, bins=20, range=(0, 1))[0] / drawn.size
    assert np.abs(histogram - 0.05).max() < 0.002
    for shifted in (drawn[1:, :] * drawn[:-1, :], drawn[:, 1:] * drawn[:, :-1], drawn[1:, :-1] * drawn[:-1, 1:]):
        assert shifted.mean() == pytest.approx(0.25, abs=0.003)


def test_a_token_is_drawn_by_inverting_the_cumulative_distribution() -> None:
    logits = torch.log(torch.tensor([[0.2, 0.5, 0.3]])).repeat(4, 1)
    noise = torch.tensor([0.0, 0.19, 0.21, 0.99], dtype=torch.float64)

    tokens, logprobs = sample(logits, torch.ones(4), noise, None)

    assert tokens.tolist() == [0, 0, 1, 2]
    assert logprobs.exp().tolist() == pytest.approx([0.2, 0.2, 0.5, 0.3])


def test_frequencies_follow_the_distribution_at_its_temperature() -> None:
    logits, rows = torch.tensor([[2.0, 1.0, 0.0, -1.0]]), 40_000
    expected = torch.softmax(logits[0] / 0.7, -1)

    tokens, _ = sample(logits.repeat(rows, 1), torch.full((rows,), 0.7), noise_of(*range(rows)), None)

    assert (torch.bincount(tokens, minlength=4) / rows).tolist() == pytest.approx(expected.tolist(), abs=0.01)


def test_log_probabilities_are_those_of_the_tempered_distribution() -> None:
    logits = torch.randn(8, 20, generator=torch.Generator().manual_seed(1))
    temperatures = torch.tensor([0.5, 1.0, 2.0, 0.1] * 2)

    tokens, logprobs = sample(logits, temperatures, noise_of(*range(8)), None)

    expected = torch.log_softmax(logits / temperatures[:, None], -1)
    assert torch.equal(logprobs, expected.gather(1, tokens[:, None])[:, 0])


def test_temperature_zero_takes_the_likeliest_token_and_reports_temperature_one() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0]])

    tokens, logprobs = sample(logits, torch.zeros(1), torch.tensor([0.999], dtype=torch.float64), None)

    assert tokens.tolist() == [1]
    assert logprobs.tolist() == pytest.approx(torch.log_softmax(logits, -1)[0, 1:2].tolist())


def test_top_k_keeps_the_k_likeliest_and_renormalises() -> None:
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.4]])).repeat(1000, 1)

    tokens, logprobs = sample(logits, torch.ones(1000), noise_of(*range(1000)), filters_of(top_k=2, rows=1000))

    assert set(tokens.tolist()) == {2, 3}
    assert logprobs[tokens == 3][0].exp().item() == pytest.approx(4 / 7)


@pytest.mark.parametrize(("top_p", "kept"), [(0.05, {3}), (0.41, {2, 3}), (0.71, {1, 2, 3}), (1.0, {0, 1, 2, 3})])
def test_top_p_keeps_the_smallest_set_that_reaches_p(top_p: float, kept: set[int]) -> None:
    logits = torch.log(torch.tensor([[0.1, 0.2, 0.3, 0.4]])).repeat(500, 1)

    tokens, _ = sample(logits, torch.ones(500), noise_of(*range(500)), filters_of(top_p=top_p, rows=500))

    assert set(tokens.tolist()) == kept


def test_filters_that_exclude_nothing_change_no_bit() -> None:
    logits = torch.randn(32, 50, generator=torch.Generator().manual_seed(2)) * 10
    temperatures, noise = torch.ones(32), noise_of(*range(32))

    plain, filtered = (
        sample(logits, temperatures, noise, None),
        sample(logits, temperatures, noise, filters_of(rows=32)),
    )

    assert torch.equal(plain[0], filtered[0])
    assert torch.equal(plain[1], filtered[1])


def test_a_token_without_probability_is_never_drawn_even_by_the_largest_noise() -> None:
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])
    largest = torch.tensor([1 - 2.0**-48], dtype=torch.float64)

    assert sample(logits, torch.ones(1), largest, None)[0].tolist() == [1]


def test_the_paper_s_two_temperatures_give_the_golden_entropies_and_probabilities() -> None:
    golden = next(
        case for case in json.loads(VECTORS.read_text())["cases"] if case["id"] == "rule8020_decode_temperature"
    )
    asked, expected = golden["inputs"], golden["expected"]
    logits = torch.tensor(asked["logits"], dtype=torch.float64)
    low = torch.full((2,), asked["T_low"], dtype=torch.float64)

    temperatures = temperatures_by_entropy(
        logits, low, forks_of(*[asked["h_threshold"]] * 2, temperature=asked["T_high"])
    )

    assert temperatures.tolist() == expected["T"]
    assert entropies(logits).tolist() == pytest.approx(expected["entropy"], abs=golden["tolerance"])
    for row, probabilities in enumerate(expected["probs"]):
        shares = torch.softmax(logits[row] / temperatures[row], -1)
        assert shares.tolist() == pytest.approx(probabilities, abs=golden["tolerance"])


def test_a_token_exactly_at_the_threshold_does_not_fork() -> None:
    logits = torch.zeros(3, 4)
    threshold = entropies(logits)[0].item()
    forks = forks_of(threshold, threshold - 1e-12, float("inf"), temperature=2.0)

    assert temperatures_by_entropy(logits, torch.full((3,), 0.5), forks).tolist() == [0.5, 2.0, 0.5]


def test_an_excluded_token_adds_nothing_to_the_entropy() -> None:
    logits = torch.tensor([[0.0, 0.0, -torch.inf]])

    assert entropies(logits).item() == pytest.approx(np.log(2))


def test_with_two_temperatures_log_probabilities_are_those_of_what_was_sampled_from() -> None:
    logits = torch.cat([torch.zeros(1, 4), torch.tensor([[9.0, 0.0, 0.0, 0.0]])]).repeat(8, 1)
    forks = forks_of(*[0.672] * 16, temperature=3.0)

    temperatures = temperatures_by_entropy(logits, torch.full((16,), 0.5), forks)
    tokens, logprobs = sample(logits, temperatures, noise_of(*range(16)), None)

    expected = torch.log_softmax(logits / torch.tensor([3.0, 0.5] * 8)[:, None], -1)
    assert torch.equal(logprobs, expected.gather(1, tokens[:, None])[:, 0])
