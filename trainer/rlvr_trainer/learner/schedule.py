"""The learning rate of a step, from its number alone: a resumed run continues where it was."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["constant", "linear", "cosine"]


def learning_rate(step: int, *, peak: float, schedule: Schedule, warmup_steps: int, num_steps: int) -> float:
    """Rate of the 1-based `step`: linear from peak / warmup_steps up to the peak, then as `schedule` says.

    `linear` and `cosine` would reach 0 one step after the last, so every step of a run learns something.
    """
    if step <= warmup_steps:
        return peak * step / warmup_steps
    elapsed = (step - 1 - warmup_steps) / max(num_steps - warmup_steps, 1)
    match schedule:
        case "constant":
            return peak
        case "linear":
            return peak * (1 - elapsed)
        case "cosine":
            return peak * (1 + math.cos(math.pi * elapsed)) / 2
