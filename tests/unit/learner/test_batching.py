import pytest
import torch

from learning import a_completion, a_recipe, a_scored_group, facts_of, random_facts
from rlvr_trainer.learner.batching import answers_of, build_batch
from rlvr_trainer.samples import Finish, Outcome, StepFacts

CORRECT, WRONG, MALFORMED, TRUNCATED = Outcome.CORRECT, Outcome.WRONG, Outcome.MALFORMED, Outcome.TRUNCATED


def two_groups() -> StepFacts:
    """Prompt 5 6: right 7 8 9, wrong 7.  Prompt 1: malformed 2 3, cut off after ten tokens."""
    first = a_scored_group(
        0,
        [a_completion([7, 8, 9], logprobs=[-0.1, -0.2, -0.3]), a_completion([7], logprobs=[-0.5])],
        [CORRECT, WRONG],
        prompt=[5, 6],
    )
    second = a_scored_group(
        1, [a_completion([2, 3]), a_completion([4] * 10, finish=Finish.LENGTH)], [MALFORMED, TRUNCATED], prompt=[1]
    )
    return facts_of(1, [first, second])


def test_rows_are_prompt_then_completion_then_zeros() -> None:
    batch = build_batch(two_groups(), a_recipe())

    assert batch.tokens_BS[:3].tolist() == [
        [5, 6, 7, 8, 9, 0, 0, 0, 0, 0, 0],
        [5, 6, 7, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    assert batch.prompt_lengths_B.tolist() == [2, 2, 1, 1]
    assert batch.completion_lengths_B.tolist() == batch.mask_BT.sum(1).tolist() == [3, 1, 2, 10]
    assert batch.num_tokens == 16


def test_sampling_log_probabilities_keep_their_place() -> None:
    batch = build_batch(two_groups(), a_recipe())

    assert batch.sampling_BT[:2, :4].tolist() == [pytest.approx([-0.1, -0.2, -0.3, 0]), pytest.approx([-0.5, 0, 0, 0])]


def test_the_judges_words_become_tensors() -> None:
    answers = answers_of(two_groups().groups)

    assert answers.score_PG.tolist() == [[1, 0], [0, 0]]
    assert answers.correct_PG.tolist() == [[True, False], [False, False]]
    assert answers.malformed_PG.tolist() == [[False, False], [True, False]]
    assert answers.truncated_PG.tolist() == [[False, False], [False, True]]
    assert answers.lengths_PG.tolist() == [[3, 1], [2, 10]]


def test_rewards_are_shaped_before_advantages_are_taken() -> None:
    """DAPO: +1 / -1, and 10 of 12 tokens with a cache of 4 cost (10 - 8) / 4."""
    batch = build_batch(two_groups(), a_recipe(preset="dapo", overlong={"cacheFraction": 1 / 3}))

    assert batch.reward_PG.tolist() == [[1, -1], [-1, pytest.approx(-1.5)]]
    assert batch.advantage_B1[:, 0].tolist() == pytest.approx([0.7071063, -0.7071063, 0.7071048, -0.7071048], abs=1e-6)


def test_the_emphasis_of_a_group_scales_its_advantages() -> None:
    """MGPO with lambda 1 at accuracy 1/4: weight 0.877383, advantages 1.316 and -0.4387."""
    completions = [a_completion([7])] * 4
    facts = facts_of(1, [a_scored_group(0, completions, [CORRECT, WRONG, WRONG, WRONG])])

    batch = build_batch(facts, a_recipe(emphasis={"mgpo": {"strength": 1.0, "center": 0.5}}))

    assert batch.advantage_B1[:, 0].tolist() == pytest.approx([1.3160, -0.43869, -0.43869, -0.43869], abs=1e-3)


@pytest.mark.parametrize("step", range(1, 6))
def test_advantages_of_a_group_sum_to_zero(step: int) -> None:
    batch = build_batch(random_facts(step), a_recipe())

    assert torch.allclose(batch.advantage_B1.view(4, 4).sum(1), torch.zeros(4), atol=1e-5)
