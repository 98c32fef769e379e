"""What each outcome is worth, before length or emphasis enter.

P prompts, G completions per prompt.  Facts in, opinions out: nothing here changes which completions are correct.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answers:
    """What the judge found, completion by completion."""

    score_PG: Tensor
    """0 (wrong) to 1 (correct), floating point."""
    correct_PG: Tensor
    malformed_PG: Tensor
    """No answer could be read."""
    truncated_PG: Tensor
    """Cut off before an answer could be read."""
    lengths_PG: Tensor
    """Completion tokens with the end token."""

    @property
    def readable_PG(self) -> Tensor:
        return ~(self.malformed_PG | self.truncated_PG)


def outcome_rewards(answers: Answers, *, correct: float, wrong: float, malformed: float, truncated: float) -> Tensor:
    """[P, G]: a readable answer's score between `wrong` and `correct`; a fixed reward for the others."""
    reward_PG = wrong + answers.score_PG * (correct - wrong)
    reward_PG = torch.where(answers.malformed_PG, malformed, reward_PG)
    return torch.where(answers.truncated_PG, truncated, reward_PG)
