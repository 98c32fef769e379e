from __future__ import annotations

import torch

from rlvr_trainer.algorithms.rewards import Answers, outcome_rewards


def five_answers() -> Answers:
    """Correct, half right, wrong, malformed, truncated."""
    return Answers(
        score_PG=torch.tensor([[1.0, 0.5, 0.0, 0.0, 0.0]]),
        correct_PG=torch.tensor([[True, False, False, False, False]]),
        malformed_PG=torch.tensor([[False, False, False, True, False]]),
        truncated_PG=torch.tensor([[False, False, False, False, True]]),
        lengths_PG=torch.tensor([[3, 4, 5, 6, 7]]),
    )


def test_every_outcome_has_its_worth_and_scores_between_are_interpolated() -> None:
    reward_PG = outcome_rewards(five_answers(), correct=1.0, wrong=-0.5, malformed=-1.0, truncated=-2.0)

    assert reward_PG.tolist() == [[1.0, 0.25, -0.5, -1.0, -2.0]]


def test_zero_and_one_are_the_scores_themselves() -> None:
    reward_PG = outcome_rewards(five_answers(), correct=1.0, wrong=0.0, malformed=0.0, truncated=0.0)

    assert torch.equal(reward_PG, five_answers().score_PG)


def test_only_wrong_and_correct_answers_are_readable() -> None:
    assert five_answers().readable_PG.tolist() == [[True, True, True, False, False]]
