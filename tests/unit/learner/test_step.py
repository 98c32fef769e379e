"""The step against a direct implementation, and the laws it promises."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from learning import a_backend, a_dealing, a_recipe, random_facts, take
from rlvr_trainer.algorithms.recipe import Recipe
from rlvr_trainer.learner.backends.base import Diverged
from rlvr_trainer.learner.backends.local import LocalBackend
from rlvr_trainer.learner.batching import Batch, build_batch
from rlvr_trainer.learner.microbatches import Dealing, plan_step, split_groups
from rlvr_trainer.learner.step import Findings, Method, take_step
from rlvr_trainer.learner.stopwatch import Stopwatch
from rlvr_trainer.samples import ScoredGroup, StepFacts

RATE = 0.02


def step_on(
    backend: LocalBackend, facts: StepFacts, recipe: Recipe, dealing: Dealing, *, reference: LocalBackend | None = None
) -> Findings:
    return take(Method(backend=backend, recipe=recipe, reference=reference), facts, dealing, rate=RATE)


def after_step(folder: Path, facts: StepFacts, recipe: Recipe, dealing: Dealing, **options: Any) -> dict[str, Tensor]:
    backend = a_backend(folder, sgd=True)
    step_on(backend, facts, recipe, dealing, **options)
    return backend.weights()


def greatest_difference(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return max(float((first[name] - second[name]).abs().max()) for name in first)


class Naive:
    """DAPO with truncated importance sampling, sequence by sequence, straight from the papers."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64)

    def logprobs(self, group: ScoredGroup, index: int) -> Tensor:
        prompt, completion = group.group.prompt.token_ids, group.group.completions[index].token_ids.tolist()
        logits = self.model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1]
        chosen: Tensor = logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None])[:, 0]
        return chosen

    def advantages(self, group: ScoredGroup) -> list[float]:
        lengths = [len(completion.token_ids) for completion in group.group.completions]
        limit, cache = 12, 6
        overlong = [min(0.0, (limit - cache - length) / cache) for length in lengths]
        rewards = [(1.0 if v.is_correct else -1.0) + o for v, o in zip(group.verdicts, overlong, strict=True)]
        mean = sum(rewards) / len(rewards)
        deviation = math.sqrt(sum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1))
        return [(r - mean) / (deviation + 1e-6) for r in rewards]

    def loss(self, groups: Sequence[ScoredGroup], old: dict[tuple[int, int], Tensor]) -> Tensor:
        terms = []
        for group in groups:
            for index, advantage in enumerate(self.advantages(group)):
                proximal = old[group.group.prompt.position, index]
                sampling = torch.tensor(group.group.completions[index].logprobs).double()
                weight = (proximal - sampling).exp().clamp(max=2.0)
                ratio = (self.logprobs(group, index) - proximal).exp()
                loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.28))
                terms.append(weight * (loss if advantage >= 0 else loss.clamp(max=-advantage * 10.0)))
        return torch.cat(terms).sum() / sum(len(term) for term in terms)

    def step(self, facts: StepFacts, dealing: Dealing) -> None:
        with torch.no_grad():
            old = {(g.group.prompt.position, i): self.logprobs(g, i) for g in facts.groups for i in range(4)}
        for epoch in range(dealing.epochs):
            parts = split_groups(4, parts=dealing.minibatches, seed=dealing.seed, step=facts.step, epoch=epoch)
            for part in parts:
                self.model.zero_grad()
                self.loss([facts.groups[number] for number in part], old).backward()
                with torch.no_grad():
                    for parameter in self.model.parameters():
                        parameter.sub_(RATE * parameter.grad)


DAPO_TIS = {
    "preset": "dapo",
    "overlong": {"cacheFraction": 0.5},
    "importanceSampling": {"mode": "truncate", "level": "token", "cap": 2.0},
}


@pytest.mark.parametrize(("minibatches", "epochs"), [(1, 1), (2, 1), (2, 2)])
def test_a_step_does_what_a_direct_implementation_of_dapo_does(
    model_folder: Path, minibatches: int, epochs: int
) -> None:
    facts, dealing = random_facts(1), a_dealing(minibatches=minibatches, epochs=epochs, token_budget=40)
    naive = Naive(model_folder)
    naive.step(facts, dealing)

    ours = after_step(model_folder, facts, a_recipe(**DAPO_TIS), dealing)

    direct = {name: parameter.detach().float() for name, parameter in naive.model.named_parameters()}
    start = a_backend(model_folder).weights()
    assert greatest_difference(ours, start) > 1e-3
    assert greatest_difference(ours, direct) < 2e-6


RECIPES = {
    "grpo": {"preset": "grpo", "kl": {"coefficient": 0.0}},
    "dapo with importance sampling": DAPO_TIS,
    "only uncertain tokens": {"preset": "highEntropy20"},
    "drGrpo": {"preset": "drGrpo"},
    "gspo": {"preset": "gspo"},
}


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("minibatches", [1, 2])
def test_the_token_budget_changes_nothing(model_folder: Path, name: str, minibatches: int) -> None:
    facts, recipe = random_facts(2), a_recipe(**RECIPES[name])
    results = [
        after_step(model_folder, facts, recipe, a_dealing(minibatches=minibatches, token_budget=budget))
        for budget in (1, 50, 100_000)
    ]

    assert greatest_difference(results[0], results[1]) <= 1e-6
    assert greatest_difference(results[0], results[2]) <= 1e-6


def test_the_look_of_a_single_update_is_the_look_of_its_own(model_folder: Path) -> None:
    facts, recipe = random_facts(3), a_recipe(**DAPO_TIS)

    own = after_step(model_folder, facts, recipe, a_dealing())
    apart = after_step(model_folder, facts, replace(recipe, selects=True), a_dealing())

    assert greatest_difference(own, apart) <= 1e-7


def test_the_first_update_clips_nothing_and_later_ones_may(model_folder: Path) -> None:
    recipe = a_recipe(preset="dapo", trustRegion={"clipLow": 0.001, "clipHigh": 0.001})

    found = step_on(a_backend(model_folder, sgd=True), random_facts(1), recipe, a_dealing(epochs=2))

    first, second = found.updates
    assert first.whole.num_clipped == 0 < second.whole.num_clipped


def test_the_same_facts_give_the_same_weights_bit_for_bit(model_folder: Path) -> None:
    dealing = a_dealing(minibatches=2, token_budget=64)
    first, second = (after_step(model_folder, random_facts(4), a_recipe(preset="dapo"), dealing) for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_seed_decides_which_groups_share_an_update(model_folder: Path) -> None:
    weights = [
        after_step(model_folder, random_facts(4), a_recipe(preset="dapo"), a_dealing(minibatches=2, seed=seed))
        for seed in range(4)
    ]

    assert max(greatest_difference(weights[0], other) for other in weights[1:]) > 1e-4


def test_the_reference_pulls_the_policy_back(model_folder: Path) -> None:
    """From its own reference there is no KL at first; after one update there is."""
    recipe = a_recipe(preset="grpo", kl={"coefficient": 0.1})
    found = step_on(
        a_backend(model_folder, sgd=True),
        random_facts(1),
        recipe,
        a_dealing(epochs=2),
        reference=a_backend(model_folder),
    )

    first, second = (update.whole.kl_nats for update in found.updates)
    assert first == pytest.approx(0.0, abs=1e-6)
    assert second is not None and second > 1e-3


def test_a_group_without_differences_moves_nothing(model_folder: Path) -> None:
    facts = random_facts(1, num_groups=1)
    flat = replace_outcomes(facts)

    assert (
        greatest_difference(
            after_step(model_folder, flat, a_recipe(preset="drGrpo"), a_dealing()), a_backend(model_folder).weights()
        )
        == 0
    )


def replace_outcomes(facts: StepFacts) -> StepFacts:
    """The same completions, all judged as the first one is."""
    from msgspec.structs import replace as changed  # noqa: PLC0415

    groups = tuple(changed(one, verdicts=(one.verdicts[0],) * len(one.verdicts)) for one in facts.groups)
    return changed(facts, groups=groups)


def spoiled(batch: Batch) -> Batch:
    return replace(batch, advantage_B1=batch.advantage_B1 * math.inf)


def test_a_loss_that_is_no_number_stops_before_the_weights_change(model_folder: Path) -> None:
    recipe, backend = a_recipe(preset="dapo"), a_backend(model_folder)
    batch = spoiled(build_batch(random_facts(1), recipe))
    before = {name: weight.clone() for name, weight in backend.weights().items()}

    with pytest.raises(Diverged, match=r"update 1 of 1: the loss is"):
        take_step(
            batch,
            plan_step(batch, a_dealing(), step=1),
            Method(backend=backend, recipe=recipe, reference=None),
            learning_rate=RATE,
            watch=Stopwatch(),
        )

    assert greatest_difference(before, backend.weights()) == 0
