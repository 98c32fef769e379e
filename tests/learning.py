"""Small models and step facts for tests of the learner."""

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from rlvr_api import AlgorithmSpec, OptimizerSpec, RLVRJob
from rlvr_api.recipe import resolve
from rlvr_trainer.algorithms.recipe import Recipe, build
from rlvr_trainer.learner.backends.base import Backend
from rlvr_trainer.learner.backends.local import LocalBackend, make_optimizer
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.exchange import write_renamed
from rlvr_trainer.learner.microbatches import Dealing, plan_step
from rlvr_trainer.learner.models import load_policy
from rlvr_trainer.learner.step import Findings, Method, take_step
from rlvr_trainer.learner.stopwatch import Stopwatch
from rlvr_trainer.samples import (
    Completion,
    CoordinatorState,
    Fate,
    Finish,
    Group,
    Ledger,
    Outcome,
    Prompt,
    ScoredGroup,
    Span,
    StepFacts,
    Task,
    Verdict,
)
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.wire import pack

VOCABULARY = 19
SCORES = {Outcome.CORRECT: 1.0, Outcome.WRONG: 0.0, Outcome.MALFORMED: 0.0, Outcome.TRUNCATED: 0.0}


def a_model_folder(folder: Path, *, tied: bool = False, seed: int = 0, **more: Any) -> Path:
    """A random two-layer Qwen2 with a tokenizer file that nobody reads."""
    torch.manual_seed(seed)
    shape = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=tied,
        initializer_range=0.4,
        dtype="float32",
        **more,
    )
    Qwen2ForCausalLM(shape).save_pretrained(folder)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def a_completion(
    token_ids: Sequence[int], *, logprobs: Sequence[float] | None = None, step: int = 0, finish: Finish = Finish.STOP
) -> Completion:
    return Completion(
        token_ids=np.array(token_ids, np.int32),
        logprobs=np.array([-1.0] * len(token_ids) if logprobs is None else logprobs, np.float32),
        spans=(Span(step=step, start=0, end=len(token_ids)),),
        finish=finish,
        text="",
    )


def a_scored_group(
    position: int,
    completions: Sequence[Completion],
    outcomes: Sequence[Outcome],
    *,
    prompt: Sequence[int] = (1, 2, 3),
) -> ScoredGroup:
    return ScoredGroup(
        group=Group(
            prompt=Prompt(position=position, text="", token_ids=tuple(prompt), task=Task(answer="")),
            completions=tuple(completions),
        ),
        verdicts=tuple(Verdict(outcome=outcome, score=SCORES[outcome]) for outcome in outcomes),
    )


def facts_of(step: int, groups: Sequence[ScoredGroup]) -> StepFacts:
    first, last = groups[0].group.prompt.position, groups[-1].group.prompt.position
    return StepFacts(
        step=step,
        policy_step=step - 1,
        groups=tuple(groups),
        dropped=(),
        num_judged=sum(len(one.verdicts) for one in groups),
        num_correct=sum(one.num_correct for one in groups),
        produce_seconds=0.1,
        state=CoordinatorState(
            ledger=Ledger(watermark=last + 1, counts={Fate.TRAINED: last + 1}), generated_tokens=first
        ),
    )


def random_facts(step: int, *, num_groups: int = 4, group_size: int = 4, longest: int = 12) -> StepFacts:
    """Facts that follow from `step` alone; every group has right and wrong completions of different lengths."""
    dice = random.Random(step)
    groups = []
    for number in range(num_groups):
        completions = [
            a_completion(
                [dice.randrange(VOCABULARY) for _ in range(length)],
                logprobs=[-dice.uniform(0.1, 4.0) for _ in range(length)],
                step=step - 1,
            )
            for length in (dice.randint(1, longest) for _ in range(group_size))
        ]
        outcomes = [Outcome.CORRECT, Outcome.WRONG, *dice.choices([Outcome.CORRECT, Outcome.WRONG], k=group_size - 2)]
        prompt = [dice.randrange(VOCABULARY) for _ in range(dice.randint(2, 6))]
        groups.append(a_scored_group((step - 1) * num_groups + number, completions, outcomes, prompt=prompt))
    return facts_of(step, groups)


def a_recipe(*, max_tokens: int = 12, **algorithm: Any) -> Recipe:
    """The recipe of `AlgorithmSpec(**algorithm)`, keys as in a manifest."""
    return build(resolve(AlgorithmSpec.model_validate(algorithm)), max_tokens=max_tokens)


def a_dealing(
    *, minibatches: int = 1, epochs: int = 1, seed: int = 0, token_budget: int = 1000, packs: bool = False
) -> Dealing:
    return Dealing(minibatches=minibatches, epochs=epochs, seed=seed, token_budget=token_budget, packs=packs)


def a_backend(
    folder: Path, *, sgd: bool = False, max_grad_norm: float = math.inf, packs: bool = False, recomputes: bool = False
) -> LocalBackend:
    """A backend whose updates are AdamW's, or plain gradient descent."""
    policy = load_policy(folder, temperature=1.0, packs=packs, recomputes=recomputes)
    optimizer = torch.optim.SGD(policy.parameters()) if sgd else make_optimizer(policy.parameters(), OptimizerSpec())
    return LocalBackend(policy, optimizer, dtype=torch.float32, max_grad_norm=max_grad_norm)


def a_learner_job(model_folder: Path, uri: str, *, steps: int = 6, every: int = 2, **spec: Any) -> RLVRJob:
    """A job of four groups of four per step, two updates each, on the model in `model`."""
    training = {"steps": steps, "promptsPerStep": 4, "groupSize": 4, "minibatches": 2, "tokenBudget": 64}
    return RLVRJob.model_validate(
        {
            "apiVersion": "rlvr.dev/v1alpha1",
            "kind": "RLVRJob",
            "metadata": {"name": "test"},
            "spec": {
                "model": {"path": str(model_folder)},
                "data": {"train": {"procedural": {"task": "chain_sum", "size": 10}}},
                "algorithm": {"preset": "dapo"},
                "training": training | {"optimizer": {"learningRate": 0.01, "schedule": "cosine"}},
                "rollout": {"engine": "local", "sampling": {"maxTokens": 12}},
                "reward": {"verifiers": [{"exact": {}}]},
                "checkpoint": {"uri": uri, "every": every},
                **spec,
            },
        }
    )


def a_place(folder: Path, job: RLVRJob, *, attempt: int = 0, batches: int = 0) -> Surroundings:
    """Surroundings of a learner process; the facts of steps 1 to `batches` are already there."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    path.write_text(job.model_dump_json(by_alias=True, exclude_none=True))
    (folder / "token").write_text("secret")
    place = Surroundings(job=path, folder=folder / "work", token_file=folder / "token", attempt=attempt)
    leave_batches(place, range(1, batches + 1))
    return place


def leave_batches(place: Surroundings, steps: Iterable[int]) -> None:
    """Do what the coordinator does."""
    for step in steps:
        write_renamed(place.attempt_folder / "batches" / f"{step:06d}.facts", pack(random_facts(step)))


def take(method: Method, facts: StepFacts, dealing: Dealing | None = None, *, rate: float) -> Findings:
    """One step on the facts."""
    batch = build_batch(facts, method.recipe)
    plan = plan_step(batch, dealing or a_dealing(), step=facts.step, ranks=method.ranks)
    return take_step(batch, plan, method, learning_rate=rate, watch=Stopwatch())


def train(backend: Backend, *steps: int) -> None:
    """Steps of DAPO on random facts."""
    method = Method(backend=backend, recipe=a_recipe(preset="dapo"), reference=None)
    for step in steps:
        take(method, random_facts(step), rate=0.01)
