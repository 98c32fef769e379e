from __future__ import annotations

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from golden.cases import CASES
from rlvr_trainer.algorithms.logits import Tiling, token_statistics


class Problem(NamedTuple):
    hidden: Tensor
    weight: Tensor
    bias: Tensor
    targets: Tensor


def problem(*, tokens: int, width: int, vocabulary: int, dtype: torch.dtype = torch.float64) -> Problem:
    generator = torch.Generator().manual_seed(tokens + vocabulary)
    hidden, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for shape in [(tokens, width), (vocabulary, width), (vocabulary,)]
    )
    return Problem(hidden, weight, bias, torch.randint(vocabulary, (tokens,), generator=generator))


def dense(given: Problem, *, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    logprob_NV = ((given.hidden @ given.weight.T + given.bias) / temperature).log_softmax(-1)
    return logprob_NV.gather(1, given.targets[:, None])[:, 0], -(logprob_NV.exp() * logprob_NV).sum(-1)


def gradients(given: Problem, results: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Of a loss that weighs every log-probability and entropy differently."""
    weights_N = torch.arange(given.targets.numel()).cos()
    loss = (results[0] * weights_N).sum() + 0.3 * (results[1] * weights_N.flip(0)).sum()
    return torch.autograd.grad(loss, given[:3])


@pytest.mark.parametrize("tiling", [Tiling(), Tiling(4, 16), Tiling(5, 1), Tiling(64, 37)])
@pytest.mark.parametrize(
    ("tokens", "width", "vocabulary"),
    [(7, 5, 18), (0, 5, 18), (13, 8, 101), (9, 3, 32), (1, 1, 1), (6, 40, 18), (0, 40, 18)],
)
def test_values_and_gradients_equal_those_of_dense_logits(
    tokens: int, width: int, vocabulary: int, tiling: Tiling
) -> None:
    given = problem(tokens=tokens, width=width, vocabulary=vocabulary)

    expected = dense(given, temperature=0.7)
    actual = token_statistics(*given[:2], given.targets, temperature=0.7, bias_V=given.bias, tiling=tiling)

    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(gradients(given, actual), gradients(given, expected))


def test_gradients_agree_with_finite_differences() -> None:
    given = problem(tokens=3, width=2, vocabulary=5)

    def head(hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor) -> tuple[Tensor, Tensor]:
        return token_statistics(hidden_NH, weight_VH, given.targets, bias_V=bias_V, tiling=Tiling(2, 3))

    assert torch.autograd.gradcheck(head, given[:3])


@pytest.mark.parametrize("name", ["entropy_two_way", "rule8020_decode_temperature"])
def test_entropies_agree_with_hand_computed_ones(name: str) -> None:
    case = CASES[name]
    logits_NV = case.given("logits")
    one_hot = torch.eye(logits_NV.shape[1], dtype=torch.float64)

    _, entropy_N = token_statistics(logits_NV, one_hot, torch.zeros(2, dtype=torch.long), tiling=Tiling(1, 2))

    case.assert_close(entropy_N, "entropy")


def test_the_two_way_log_probabilities_are_those_of_the_table() -> None:
    case = CASES["entropy_two_way"]
    logits_NV, eye = case.given("logits"), torch.eye(2, dtype=torch.float64)

    columns = [token_statistics(logits_NV, eye, torch.full((2,), token))[0].exp() for token in (0, 1)]

    case.assert_close(torch.stack(columns, dim=1), "probs")


def test_entropy_is_that_of_the_temperature() -> None:
    case = CASES["entropy_temperature"]
    logits_NV, eye, target = case.given("logits")[None], torch.eye(3, dtype=torch.float64), torch.zeros(1).long()

    entropies = [token_statistics(logits_NV, eye, target, temperature=t)[1].squeeze() for t in case.inputs["T"]]

    case.assert_close(torch.stack(entropies), "entropy")


@pytest.mark.parametrize("scale", [1, 4, 12])
def test_entropy_of_spread_logits_is_right_to_a_hundred_thousandth(scale: int) -> None:
    given = problem(tokens=32, width=64, vocabulary=5000, dtype=torch.float32)
    hidden_NH = given.hidden.detach() * (scale / 8)

    logprob_N, entropy_N = token_statistics(hidden_NH, given.weight, given.targets, tiling=Tiling(32, 512))
    exact = token_statistics(hidden_NH.double(), given.weight.double(), given.targets)

    assert entropy_N.dtype == torch.float32
    assert (entropy_N - exact[1]).abs().max().item() < 1e-5
    assert (logprob_N - exact[0]).abs().max().item() < 1e-4


def test_shifting_all_logits_by_a_thousand_changes_nothing() -> None:
    given = problem(tokens=6, width=4, vocabulary=50)

    plain = token_statistics(*given[:2], given.targets, bias_V=given.bias, tiling=Tiling(6, 7))
    shifted = token_statistics(*given[:2], given.targets, bias_V=given.bias + 1000, tiling=Tiling(6, 7))

    torch.testing.assert_close(shifted, plain)


@pytest.mark.parametrize("width", [16, 96])
def test_half_precision_states_give_full_precision_results(width: int) -> None:
    given = problem(tokens=9, width=width, vocabulary=70, dtype=torch.bfloat16)
    exact = Problem(*(t.detach().double().requires_grad_() for t in given[:3]), given.targets)

    actual = token_statistics(*given[:2], given.targets, bias_V=given.bias, tiling=Tiling(4, 32))
    expected = dense(exact)

    torch.testing.assert_close([a.double() for a in actual], list(expected), atol=1e-5, rtol=1e-5)
    for rounded, true in zip(gradients(given, actual), gradients(exact, expected), strict=True):
        assert rounded.dtype == torch.bfloat16
        torch.testing.assert_close(rounded.double(), true, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("width", [8, 32])
def test_autocast_does_not_reach_the_head(width: int) -> None:
    given = problem(tokens=4, width=width, vocabulary=20, dtype=torch.float32)
    plain = token_statistics(*given[:2], given.targets)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = token_statistics(*given[:2], given.targets)

    assert torch.equal(inside[0], plain[0])


def test_a_frozen_weight_gets_no_gradient_but_the_states_do() -> None:
    given = problem(tokens=4, width=3, vocabulary=11)

    logprob_N, _ = token_statistics(given.hidden, given.weight.detach(), given.targets)
    logprob_N.sum().backward()

    assert given.hidden.grad is not None
    assert given.hidden.grad.abs().sum() > 0


def test_tokens_without_gradient_leave_no_trace() -> None:
    given = problem(tokens=8, width=3, vocabulary=11)
    mask_N = torch.tensor([True, False, False, True, True, False, False, False])

    logprob_N, _ = token_statistics(*given[:2], given.targets, tiling=Tiling(2, 4))
    masked = torch.autograd.grad(torch.where(mask_N, logprob_N, 0.0).sum(), given[:2])
    expected = torch.autograd.grad(
        torch.where(mask_N, dense(given._replace(bias=torch.zeros(11)))[0], 0.0).sum(), given[:2]
    )

    torch.testing.assert_close(masked, expected)
    assert not masked[0][~mask_N].any()


def test_each_token_may_have_the_gradient_of_either_result() -> None:
    given = problem(tokens=3, width=3, vocabulary=11)
    to_logprob, to_entropy = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])

    both = [
        torch.autograd.grad((logprob_N * to_logprob + entropy_N * to_entropy).sum(), given.hidden)[0]
        for logprob_N, entropy_N in (token_statistics(*given[:2], given.targets, bias_V=given.bias), dense(given))
    ]

    torch.testing.assert_close(both[0], both[1])


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_must_be_positive(temperature: float) -> None:
    given = problem(tokens=1, width=1, vocabulary=2)

    with pytest.raises(AssertionError, match="positive"):
        token_statistics(*given[:2], given.targets, temperature=temperature)
