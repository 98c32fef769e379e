"""The chance that one of k completions is correct, estimated without bias from n >= k.  Pure Python."""

from __future__ import annotations

import math


def pass_at_k(*, num_completions: int, num_correct: int, k: int) -> float:
    """1 - C(n - c, k) / C(n, k) (Chen et al. 2021, 2107.03374 eq. 1); 1 where fewer than k are wrong."""
    assert 0 <= num_correct <= num_completions, f"{num_correct} of {num_completions} completions cannot be correct"
    assert 1 <= k <= num_completions, f"pass@{k} needs at least {k} completions, not {num_completions}"
    return 1 - math.comb(num_completions - num_correct, k) / math.comb(num_completions, k)
