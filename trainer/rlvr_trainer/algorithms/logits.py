"""Log-probability and entropy of chosen tokens, straight from hidden states.

[N, V] logits are never held, unless the vocabulary is smaller than the hidden states that are held anyway.

N tokens, R rows (a chunk of N), V vocabulary, C columns (a tile of V), K tiles, H hidden width.

Every tile is reduced, in float32 or better, to its maximum, log-sum and entropy; the tiles are then joined in float64
by the chain rule of entropy, H = sum_k w_k H_k + H(w), where no terms cancel.  Backward computes each tile again.  The
whole vocabulary must be on one device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor


class Tiling(NamedTuple):
    """How much of the logits exists at any one time: two blocks of `rows` x `vocabulary` numbers."""

    rows: int = 2048
    vocabulary: int = 4096


_ON_CPU: Final = Tiling()
"""Blocks that a core's cache has room for."""
_ON_GPU: Final = Tiling(rows=4096, vocabulary=16384)
"""Blocks that keep a GPU busy for longer than it takes to start its kernels; two of them are 0.5 GiB."""


def token_statistics(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    targets_N: Tensor,
    *,
    temperature: float = 1.0,
    bias_V: Tensor | None = None,
    tiling: Tiling | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probability ln p(target) and entropy H = -sum_v p_v ln p_v in nats, p = softmax((h W^T + b) / temperature).

    Both results are [N], float32 (float64 for float64 hidden states), and differentiable with respect to hidden
    states, weight and bias.  An entropy that no loss uses costs nothing in the backward pass; detach it for masks.
    The weight's gradient is summed in the results' precision and rounded once, and tokens without gradient (masked,
    clipped) are left out of the backward pass.  Without `tiling`, blocks are of a size that suits the device.
    """
    assert temperature > 0, f"temperature is {temperature}; a softmax needs a positive one"
    with torch.autocast(hidden_NH.device.type, enabled=False):
        if weight_VH.shape[0] < weight_VH.shape[1]:
            return _from_logits(hidden_NH, weight_VH, targets_N, temperature=temperature, bias_V=bias_V)
        walk = _Walk(temperature, tiling or (_ON_GPU if hidden_NH.is_cuda else _ON_CPU))
        return _TokenStatistics.apply(hidden_NH, weight_VH, bias_V, targets_N, walk)  # type: ignore[no-any-return, no-untyped-call]


def _from_logits(
    hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor, *, temperature: float, bias_V: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The same by plain operations, three times as fast where a tile would be mostly overhead."""
    precision = _precision(hidden_NH)
    bias = 0.0 if bias_V is None else bias_V.to(precision)
    logits_NV = (hidden_NH.to(precision) @ weight_VH.to(precision).T + bias) / temperature
    logprob_NV = logits_NV.log_softmax(-1)
    return logprob_NV.gather(1, targets_N[:, None]).squeeze(1), -(logprob_NV.exp() * logprob_NV).sum(-1)


class _Walk(NamedTuple):
    temperature: float
    tiling: Tiling


class _Head(NamedTuple):
    """The output layer, weight [V, H] and bias [V], and how to walk over it."""

    weight: Tensor
    bias: Tensor | None
    walk: _Walk

    def blocks(self, num_tokens: int) -> Iterator[tuple[int, slice, slice]]:
        """Tile number, its columns, a chunk of rows; tiles outermost, so that a weight tile stays in cache."""
        for tile, columns in enumerate(_spans(self.weight.shape[0], self.walk.tiling.vocabulary)):
            for rows in _even_spans(num_tokens, self.walk.tiling.rows):
                yield tile, columns, rows

    def logits(self, hidden_RH: Tensor, columns: slice, out_RC: Tensor) -> Tensor:
        _product(hidden_RH, self.weight[columns].T, out_RC)
        if self.bias is not None:
            out_RC.add_(self.bias[columns])
        temperature = self.walk.temperature
        return out_RC if temperature == 1 else out_RC.div_(temperature)


class _Scratch:
    """Two blocks of memory, used again for every tile."""

    def __init__(self, head: _Head, hidden_NH: Tensor) -> None:
        rows = min(head.walk.tiling.rows, hidden_NH.shape[0])
        columns = min(head.walk.tiling.vocabulary, head.weight.shape[0])
        self._blocks = hidden_NH.new_empty(2, rows * columns, dtype=_precision(hidden_NH))

    def pair(self, rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        first, second = (block[: shape[0] * shape[1]].view(shape) for block in self._blocks)
        return first, second


class _TokenStatistics(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        walk: _Walk,
    ) -> tuple[Tensor, Tensor]:
        head = _Head(weight_VH, bias_V, walk)
        logprob_N, entropy_N, log_normalizer_N = _forward(head, hidden_NH, targets_N)
        ctx.save_for_backward(hidden_NH, weight_VH, bias_V, targets_N, log_normalizer_N, entropy_N)
        ctx.walk = walk
        ctx.set_materialize_grads(False)
        return logprob_N, entropy_N

    @staticmethod
    def backward(ctx: Any, grad_logprob_N: Tensor | None, grad_entropy_N: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden_NH, weight_VH, bias_V, targets_N, log_normalizer_N, entropy_N = ctx.saved_tensors
        if grad_logprob_N is None:
            grad_logprob_N = torch.zeros_like(entropy_N)
        active_N = grad_logprob_N != 0 if grad_entropy_N is None else (grad_logprob_N != 0) | (grad_entropy_N != 0)
        signal = _Signal(
            targets=targets_N[active_N],
            log_normalizer=log_normalizer_N[active_N],
            entropy=entropy_N[active_N],
            of_logprob=grad_logprob_N[active_N] / ctx.walk.temperature,
            of_entropy=None if grad_entropy_N is None else grad_entropy_N[active_N] / ctx.walk.temperature,
        )
        head = _Head(weight_VH, bias_V, ctx.walk)
        grads = _backward(head, hidden_NH[active_N], signal, needs_weight=ctx.needs_input_grad[1])
        grad_hidden_NH = torch.zeros_like(hidden_NH)
        grad_hidden_NH[active_N] = grads[0].to(hidden_NH.dtype)
        return grad_hidden_NH, grads[1], grads[2], None, None


class _Signal(NamedTuple):
    """What the backward pass knows about the tokens that have a gradient; every field is [N], already chosen."""

    targets: Tensor
    log_normalizer: Tensor
    entropy: Tensor
    of_logprob: Tensor
    of_entropy: Tensor | None

    def at(self, rows: slice) -> _Signal:
        targets, log_normalizer, entropy, of_logprob, of_entropy = self
        of_entropy = None if of_entropy is None else of_entropy[rows]
        return _Signal(targets[rows], log_normalizer[rows], entropy[rows], of_logprob[rows], of_entropy)


def _forward(head: _Head, hidden_NH: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-probability, entropy and log of the softmax denominator."""
    num_tokens, num_tiles = hidden_NH.shape[0], -(-head.weight.shape[0] // head.walk.tiling.vocabulary)
    maximum_KN, log_sum_KN, entropy_KN = hidden_NH.new_empty(3, num_tiles, num_tokens, dtype=torch.float64)
    chosen_N = torch.zeros_like(maximum_KN[0])
    scratch = _Scratch(head, hidden_NH)
    for tile, columns, rows in head.blocks(num_tokens):
        logits_RC, other_RC = scratch.pair(rows, columns)
        head.logits(hidden_NH[rows], columns, logits_RC)
        index_R1, inside_R = _locate(targets_N[rows], columns)
        chosen_N[rows] += torch.where(inside_R, logits_RC.gather(1, index_R1).squeeze(1), 0.0)
        maximum_KN[tile, rows], log_sum_KN[tile, rows], entropy_KN[tile, rows] = _reduce(logits_RC, other_RC)
    maximum_N = maximum_KN.amax(0)
    mass_KN = maximum_KN - maximum_N + log_sum_KN
    log_sum_N = mass_KN.logsumexp(0)
    log_share_KN = mass_KN - log_sum_N
    entropy_N = (log_share_KN.exp() * (entropy_KN - log_share_KN)).sum(0)
    results = chosen_N - maximum_N - log_sum_N, entropy_N, maximum_N + log_sum_N
    logprob_N, entropy_N, log_normalizer_N = (result_N.to(_precision(hidden_NH)) for result_N in results)
    return logprob_N, entropy_N, log_normalizer_N


def _reduce(logits_RC: Tensor, other_RC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Maximum, ln sum exp(z - maximum) and entropy of one tile; overwrites both blocks."""
    maximum_R = logits_RC.amax(1)
    shifted_RC = logits_RC.sub_(maximum_R[:, None])
    weight_RC = torch.exp(shifted_RC, out=other_RC)
    sum_R = weight_RC.sum(1).double()
    log_sum_R = sum_R.log()
    return maximum_R, log_sum_R, log_sum_R - shifted_RC.mul_(weight_RC).sum(1) / sum_R


def _backward(
    head: _Head, hidden_NH: Tensor, signal: _Signal, *, needs_weight: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Gradients of hidden states, weight and bias: dz = g (1_target - p) - g_H p (ln p + H)."""
    precision = _precision(hidden_NH)
    grad_hidden_NH = torch.zeros_like(hidden_NH, dtype=precision)
    grad_weight_VH = torch.zeros_like(head.weight, dtype=precision) if needs_weight else None
    grad_bias_V = None if head.bias is None else torch.zeros_like(head.bias, dtype=precision)
    scratch = _Scratch(head, hidden_NH)
    for _, columns, rows in head.blocks(hidden_NH.shape[0]):
        logits_RC, other_RC = scratch.pair(rows, columns)
        head.logits(hidden_NH[rows], columns, logits_RC)
        grad_RC = _logit_gradient(logits_RC, other_RC, signal.at(rows), columns)
        if grad_bias_V is not None:
            grad_bias_V[columns] += grad_RC.sum(0)
        grad_RC = _for_tensor_cores(grad_RC, like=hidden_NH)
        _accumulate(grad_hidden_NH[rows], grad_RC, head.weight[columns])
        if grad_weight_VH is not None:
            _accumulate(grad_weight_VH[columns], grad_RC.T, hidden_NH[rows])
    return grad_hidden_NH, _like(grad_weight_VH, head.weight), _like(grad_bias_V, head.bias)


def _logit_gradient(logits_RC: Tensor, other_RC: Tensor, signal: _Signal, columns: slice) -> Tensor:
    """The formula of `_backward` for one block; overwrites both blocks."""
    logprob_RC = logits_RC.sub_(signal.log_normalizer[:, None])
    grad_RC = torch.exp(logprob_RC, out=other_RC)
    if signal.of_entropy is None:
        grad_RC.mul_(-signal.of_logprob[:, None])
    else:
        slope_RC = logprob_RC.add_(signal.entropy[:, None]).mul_(signal.of_entropy[:, None])
        grad_RC.mul_(slope_RC.add_(signal.of_logprob[:, None]).neg_())
    index_R1, inside_R = _locate(signal.targets, columns)
    return grad_RC.scatter_add_(1, index_R1, torch.where(inside_R, signal.of_logprob, 0.0)[:, None])


def _locate(targets_R: Tensor, columns: slice) -> tuple[Tensor, Tensor]:
    """Where each target lies in the tile (clamped to it), and whether it does."""
    offset_R = targets_R - columns.start
    width = columns.stop - columns.start
    return offset_R.clamp(0, width - 1)[:, None], (offset_R >= 0) & (offset_R < width)


def _product(left_RH: Tensor, right_HC: Tensor, out_RC: Tensor) -> None:
    """Write out = left right, never rounded below out's precision; half precision goes to tensor cores."""
    if left_RH.is_cuda and left_RH.dtype == right_HC.dtype != out_RC.dtype:
        torch.mm(left_RH, right_HC, out_RC.dtype, out=out_RC)
    else:
        torch.mm(left_RH.to(out_RC.dtype), right_HC.to(out_RC.dtype), out=out_RC)


def _for_tensor_cores(grad_RC: Tensor, *, like: Tensor) -> Tensor:
    """In the model's precision on a GPU, once for both products that read it."""
    return grad_RC.to(like.dtype) if like.is_cuda else grad_RC


def _accumulate(into_AB: Tensor, left_AC: Tensor, right_CB: Tensor) -> None:
    """Add: into += left right, summed in into's precision."""
    if left_AC.is_cuda and right_CB.dtype != into_AB.dtype:
        into_AB.add_(torch.mm(left_AC.to(right_CB.dtype), right_CB, into_AB.dtype))
    else:
        into_AB.addmm_(left_AC, right_CB.to(into_AB.dtype))


def _spans(size: int, width: int) -> Iterator[slice]:
    return (slice(start, min(start + width, size)) for start in range(0, size, width))


def _even_spans(size: int, width: int) -> Iterator[slice]:
    """Of nearly equal widths: in a product of fewer than 16 rows a row's bits depend on how many there are."""
    count = -(-size // width)
    return (slice(size * part // count, size * (part + 1) // count) for part in range(count))


def _precision(hidden_NH: Tensor) -> torch.dtype:
    return torch.promote_types(hidden_NH.dtype, torch.float32)


def _like(gradient: Tensor | None, parameter: Tensor | None) -> Tensor | None:
    return None if gradient is None or parameter is None else gradient.to(parameter.dtype)
