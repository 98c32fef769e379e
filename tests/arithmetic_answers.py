"""Answers of the shipped arithmetic model, sampled by the local engine, for figures and the decoding experiment."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from reference import load_reference
from rlvr_trainer.algorithms.targets import MonitorRecord
from rlvr_trainer.engines.local.engine import Engine, open_engine
from rlvr_trainer.engines.local.requests import Choice, Fork, Request, Sampling
from rlvr_trainer.models import builtin_path
from rlvr_trainer.models.arithmetic_task import Problem, final_answer, problems

MAX_TOKENS = 64
HELD_OUT_SEED = 1_000_000
"""The problems of the examples' evaluations."""


@dataclass(frozen=True, kw_only=True)
class Exam:
    """The questions and how often each is asked."""

    engine: Engine
    tokenizer: Tokenizer
    questions: Sequence[Problem]
    completions: int

    def is_right(self, question: Problem, choice: Choice) -> bool:
        return final_answer(self.tokenizer.decode(choice.token_ids.tolist())) == question.answer


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """One answer, token by token."""

    words: tuple[str, ...]
    entropy: torch.Tensor
    """Nats at temperature 1."""


def an_exam(*, size: int, completions: int, folder: Path | None = None) -> Exam:
    folder = folder or builtin_path("arithmetic")
    return Exam(
        engine=open_engine(folder, max_concurrent=256, max_context=None, dtype=torch.float32),
        tokenizer=Tokenizer.from_file(str(folder / "tokenizer.json")),
        questions=list(problems(size=size, seed=HELD_OUT_SEED)),
        completions=completions,
    )


def answers(exam: Exam, *, temperature: float = 1.0, fork: Fork | None = None) -> list[list[Choice]]:
    """All completions of every question."""
    finished: list[list[Choice]] = [[] for _ in exam.questions]
    for index, question in enumerate(exam.questions):
        sampling = Sampling(
            num_completions=exam.completions,
            temperature=temperature,
            fork=fork,
            top_p=1.0,
            top_k=exam.engine.architecture.vocabulary,
            max_tokens=MAX_TOKENS,
            seed=index * exam.completions,
            end_token_ids=exam.engine.architecture.end_token_ids,
            stop_token_ids=(),
        )
        token_ids = tuple(exam.tokenizer.encode(question.prompt).ids)
        request = Request(request_id=str(index), token_ids=token_ids, sampling=sampling)
        exam.engine.submit(request, finished[index].extend)
    while not exam.engine.is_idle:
        exam.engine.step()
    return finished


@torch.inference_mode()
def entropies(model: Any, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """Nats at temperature 1 of each completion token, by transformers' forward pass."""
    logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1].double()
    found: torch.Tensor = torch.distributions.Categorical(logits=logits).entropy()
    return found


def monitor_records(*, prompts: int, completions: int) -> list[MonitorRecord]:
    """What Laser-D's monitor would see of the base model."""
    exam = an_exam(size=prompts, completions=completions)
    return [
        MonitorRecord(
            num_correct=sum(exam.is_right(question, choice) for choice in choices),
            lengths=tuple(len(choice.token_ids) for choice in choices),
        )
        for question, choices in zip(exam.questions, answers(exam), strict=True)
    ]


@cache
def sampled_answers() -> tuple[Sampled, ...]:
    """Two answers in steps and one direct one, of the first questions that have them."""
    exam = an_exam(size=40, completions=4)
    model = load_reference(builtin_path("arithmetic"))
    found = []
    for question, choices in zip(exam.questions, answers(exam), strict=True):
        prompt = exam.tokenizer.encode(question.prompt).ids
        for choice in choices:
            ids = choice.token_ids.tolist()
            words = tuple(exam.tokenizer.decode([one], skip_special_tokens=False) for one in ids)
            found.append(Sampled(words=words, entropy=entropies(model, prompt, ids)))
    in_steps = [one for one in found if len(one.words) > 20]
    return (*in_steps[:2], next(one for one in found if len(one.words) < 8))
