"""A job's data section, opened and checked: the stream to train on and the held-out questions.

`validate_data` does the same for `rlvr validate` and keeps nothing.  Prompts are rendered and measured up front for the
first 100,000 rows of files and folders and for the first 256 generated problems; later ones when their turn comes.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rlvr_api import DataSource, RLVRJob, Template
from rlvr_api.base import api_name
from rlvr_api.lengths import LaserD
from rlvr_api.recipe import resolve
from rlvr_trainer.data import chat, templates
from rlvr_trainer.data.procedural import overlap
from rlvr_trainer.data.sources import open_source, source_name
from rlvr_trainer.data.stream import PromptStream
from rlvr_trainer.data.tokens import Tokens, open_tokens
from rlvr_trainer.errors import InvalidInput

_CHECKED_ROWS: Final = 100_000
_CHECKED_PROBLEMS: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Everything of a job that becomes a prompt."""

    train: PromptStream
    held_out: PromptStream | None
    monitor: PromptStream | None
    """Drawn from `train` for a length reward that follows the policy's lengths."""
    tokens: Tokens


def open_prompts(job: RLVRJob, *, folder: Path) -> Prompts:
    """The prompts of `job` for the model in `folder`; InvalidInput for the first thing that cannot work."""
    tokens = open_tokens(folder, more_end_ids=job.spec.rollout.sampling.stop_token_ids)
    train = _open_training(job, folder=folder, tokens=tokens)
    return Prompts(
        train=train,
        monitor=_draw_monitor(job, train),
        held_out=_open_held_out(job, folder=folder, tokens=tokens),
        tokens=tokens,
    )


def monitor_of(job: RLVRJob) -> LaserD | None:
    """How the job's length reward follows monitor prompts; None when it does not."""
    shaping = resolve(job.spec.algorithm).length_reward
    return shaping.variant if shaping is not None and isinstance(shaping.variant, LaserD) else None


def validate_data(job: RLVRJob, *, folder: Path) -> None:
    """InvalidInput with the first problem of each part of the data, one a line."""
    tokens = open_tokens(folder, more_end_ids=job.spec.rollout.sampling.stop_token_ids)
    problems = []
    for open_part in (_open_training, _open_held_out):
        try:
            open_part(job, folder=folder, tokens=tokens)
        except InvalidInput as problem:
            problems.append(str(problem))
    if problems:
        raise InvalidInput("\n".join(problems))


def _open_training(job: RLVRJob, *, folder: Path, tokens: Tokens) -> PromptStream:
    train = job.spec.data.train
    examples = open_source(train, at="spec.data.train")
    _check_monitor(job, num_rows=len(examples))
    return PromptStream(
        examples=examples,
        source=source_name(train),
        template=_open_template(train.template, at="spec.data.train.template", folder=folder),
        tokens=tokens,
        max_prompt_tokens=_max_prompt_tokens(job, tokens=tokens),
        shuffle_seed=job.spec.training.seed if train.shuffle else None,
    ).checked(_rows_to_check(train))


def _draw_monitor(job: RLVRJob, train: PromptStream) -> PromptStream | None:
    monitor = monitor_of(job)
    if monitor is None:
        return None
    return train.drawn(monitor.monitor_prompts, key=f"{job.spec.training.seed}/monitor").checked(_CHECKED_ROWS)


def _open_held_out(job: RLVRJob, *, folder: Path, tokens: Tokens) -> PromptStream | None:
    held_out = job.spec.data.eval
    if held_out is None:
        return None
    _check_overlap(job.spec.data.train, held_out)
    at = "spec.data.eval.template" if held_out.template else "spec.data.train.template"
    return PromptStream(
        examples=open_source(held_out, at="spec.data.eval"),
        source=source_name(held_out),
        template=_open_template(job.spec.data.eval_template, at=at, folder=folder),
        tokens=tokens,
        max_prompt_tokens=_max_prompt_tokens(job, tokens=tokens),
        shuffle_seed=None,
    ).checked(_rows_to_check(held_out))


def _open_template(spec: Template, *, at: str, folder: Path) -> templates.Template:
    if spec.plain is not None:
        return templates.plain_template(spec.plain.text, at=f"{at}.plain.text")
    assert spec.chat is not None, "the job type admits exactly one template"
    return chat.chat_template(spec.chat, folder=folder, at=f"{at}.chat")


def _rows_to_check(source: DataSource) -> int:
    return _CHECKED_PROBLEMS if source.procedural is not None else _CHECKED_ROWS


def _max_prompt_tokens(job: RLVRJob, *, tokens: Tokens) -> int:
    """Tokens that the model's context leaves beside the longest completion."""
    wanted, possible = job.spec.model.max_context, tokens.max_context
    if wanted is not None and possible is not None and wanted > possible:
        raise InvalidInput(
            f"spec.model.maxContext is {wanted}, but the model reads at most {possible} tokens. Lower it."
        )
    context = wanted or possible
    if context is None:
        return sys.maxsize
    longest, at = longest_completion(job)
    if longest >= context:
        raise InvalidInput(
            f"{at} is {longest}, but prompt and completion together have at most {context} tokens (the model's "
            "context, or spec.model.maxContext). Lower maxTokens."
        )
    return context - longest


def longest_completion(job: RLVRJob) -> tuple[int, str]:
    """Tokens of the longest completion, in training or evaluation, and the field that says so."""
    training = (job.spec.rollout.sampling.max_tokens, "spec.rollout.sampling.maxTokens")
    held_out = job.spec.data.eval
    if held_out is None or held_out.max_tokens is None:
        return training
    return max(training, (held_out.max_tokens, "spec.data.eval.maxTokens"))


def _check_monitor(job: RLVRJob, *, num_rows: int) -> None:
    """Refuse to draw more monitor prompts than there are questions."""
    shaping, monitor = resolve(job.spec.algorithm).length_reward, monitor_of(job)
    if shaping is None or monitor is None or monitor.monitor_prompts <= num_rows:
        return
    name = next(api_name(field) for field, value in shaping if value is not None)
    raise InvalidInput(
        f"spec.algorithm.lengthReward.{name}.monitorPrompts is {monitor.monitor_prompts}, but spec.data.train has "
        f"{num_rows} questions, and none is drawn twice. Set it to {num_rows} or less."
    )


def _check_overlap(train: DataSource, held_out: DataSource) -> None:
    """Refuse to measure on problems that are also trained on."""
    a, b = train.procedural, held_out.procedural
    if a is None or b is None or (a.task, a.params) != (b.task, b.params):
        return
    shared = overlap(range(a.seed, a.seed + a.size), range(b.seed, b.seed + b.size))
    if shared:
        raise InvalidInput(
            f"spec.data.eval.procedural.seed is {b.seed}: {shared} of its {b.size} problems are training problems too, "
            f"because reasoning-gym draws problem i from seed + i. Take a seed of {a.seed + a.size} or more."
        )
