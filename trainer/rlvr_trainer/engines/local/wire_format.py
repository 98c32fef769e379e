"""The bodies of `/inference/v1/generate`, as vLLM 0.32 takes and gives them.

Sampling parameters that change which tokens come out and are not supported are refused by name, never ignored.
Log-probabilities are of the sampled (or prompt's) token only, without candidates and rank.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from rlvr_trainer.engines.local.architecture import Architecture
from rlvr_trainer.engines.local.requests import Choice, Fork, Request, Sampling
from rlvr_trainer.errors import InvalidInput


class ForkingArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Temperatures by entropy, as `data.eval.forking` has them; they take the place of `temperature`."""

    threshold: float
    temperature: float
    other_temperature: float


class ExtraArguments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What vLLM leaves to plugins."""

    forking: ForkingArguments | None = None


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """vLLM's names and defaults."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int | None = None
    """Default: as many as the context holds."""
    seed: int | None = None
    stop_token_ids: tuple[int, ...] | None = None
    ignore_eos: bool = False
    logprobs: Literal[0, 1] | None = None
    prompt_logprobs: Literal[0] | None = None
    """Of the prompt's own tokens, at temperature 1."""
    detokenize: bool = True
    """This and the two below only matter to a server with a tokenizer."""
    skip_special_tokens: bool = True
    output_kind: int = 2
    extra_args: ExtraArguments | None = None


class GenerateBody(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked; `model`, `cache_salt`, `priority` and the like are accepted and without effect here."""

    token_ids: tuple[int, ...]
    sampling_params: SamplingParams
    request_id: str | None = None
    stream: bool = False


class Asked(NamedTuple):
    """A request, and which log-probabilities the reply shows."""

    request: Request
    with_logprobs: bool
    with_prompt_logprobs: bool


def parse_body(data: bytes, architecture: Architecture) -> Asked:
    """What is asked; InvalidInput names what the engine cannot do."""
    try:
        body = msgspec.json.decode(data, type=GenerateBody)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the request is not one the local engine serves: {error}") from error
    if body.stream:
        raise InvalidInput("stream: true is not served by the local engine; leave it out.")
    _check_tokens(body.token_ids, architecture)
    asked = body.sampling_params
    _check_ranges(asked)
    forking = None if asked.extra_args is None else asked.extra_args.forking
    room = architecture.max_context - len(body.token_ids)
    sampling = Sampling(
        num_completions=asked.n,
        temperature=asked.temperature if forking is None else forking.other_temperature,
        fork=None if forking is None else Fork(threshold=forking.threshold, temperature=forking.temperature),
        top_p=asked.top_p,
        top_k=asked.top_k if asked.top_k > 0 else architecture.vocabulary,
        max_tokens=room if asked.max_tokens is None else min(asked.max_tokens, room),
        seed=secrets.randbits(64) if asked.seed is None else asked.seed,
        end_token_ids=() if asked.ignore_eos else architecture.end_token_ids,
        stop_token_ids=asked.stop_token_ids or (),
    )
    request_id = body.request_id or secrets.token_hex(16)
    return Asked(
        Request(request_id=request_id, token_ids=body.token_ids, sampling=sampling),
        with_logprobs=asked.logprobs is not None,
        with_prompt_logprobs=asked.prompt_logprobs is not None,
    )


def _check_tokens(token_ids: tuple[int, ...], architecture: Architecture) -> None:
    if not 0 < len(token_ids) < architecture.max_context:
        raise InvalidInput(
            f"the prompt has {len(token_ids)} tokens; it needs at least one, and at most "
            f"{architecture.max_context - 1} leave room for an answer (model.maxContext)."
        )
    if min(token_ids) < 0 or max(token_ids) >= architecture.vocabulary:
        raise InvalidInput(
            f"token_ids go from {min(token_ids)} to {max(token_ids)}, the model's from 0 to "
            f"{architecture.vocabulary - 1}; encode the prompt with the model's own tokenizer."
        )


def _check_ranges(asked: SamplingParams) -> None:
    rules: Iterable[tuple[str, Any, bool, str]] = (
        ("n", asked.n, asked.n >= 1, "at least 1"),
        ("temperature", asked.temperature, asked.temperature >= 0, "at least 0"),
        *_forking_rules(asked.extra_args),
        ("top_p", asked.top_p, 0 < asked.top_p <= 1, "above 0 and at most 1"),
        ("top_k", asked.top_k, asked.top_k >= -1, "-1 or 0 (all tokens) or at least 1"),
        ("max_tokens", asked.max_tokens, asked.max_tokens is None or asked.max_tokens >= 1, "at least 1"),
    )
    broken = [f"{name} is {value}, but must be {rule}" for name, value, holds, rule in rules if not holds]
    if broken:
        raise InvalidInput(f"sampling_params: {'; '.join(broken)}.")


def _forking_rules(extra: ExtraArguments | None) -> Iterator[tuple[str, Any, bool, str]]:
    if extra is not None and extra.forking is not None:
        for name in ("threshold", "temperature", "other_temperature"):
            value = getattr(extra.forking, name)
            yield f"extra_args.forking.{name}", value, value >= 0, "at least 0"


class _Logprob(msgspec.Struct):
    token_id: int
    logprob: float
    rank: None = None
    top_logprobs: tuple[()] = ()


class _Logprobs(msgspec.Struct):
    content: list[_Logprob]


class _Range(msgspec.Struct):
    version: str
    start: int
    end: int


class _Choice(msgspec.Struct):
    index: int
    finish_reason: str
    stop_reason: int | None
    token_ids: list[int]
    logprobs: _Logprobs | None
    weight_versions: list[_Range]


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class _Reply(msgspec.Struct):
    request_id: str
    created: int
    usage: _Usage
    choices: list[_Choice]
    prompt_logprobs: list[dict[str, _Logprob] | None] | None = None
    output_mode: str = "tokens"


def render_reply(
    request: Request,
    choices: list[Choice],
    *,
    with_logprobs: bool,
    prompt_logprobs: npt.NDArray[np.float32] | None = None,
) -> bytes:
    """JSON of a finished request; `prompt_logprobs` are of all prompt tokens but the first."""
    prompt, sampled = len(request.token_ids), sum(len(choice.token_ids) for choice in choices)
    return msgspec.json.encode(
        _Reply(
            request_id=request.request_id,
            created=int(time.time()),
            usage=_Usage(prompt, sampled, prompt + sampled),
            choices=[_rendered(choice, with_logprobs=with_logprobs) for choice in choices],
            prompt_logprobs=None if prompt_logprobs is None else _of_prompt(request, prompt_logprobs),
        )
    )


def _of_prompt(request: Request, logprobs: npt.NDArray[np.float32]) -> list[dict[str, _Logprob] | None]:
    pairs = zip(request.token_ids[1:], logprobs.tolist(), strict=True)
    return [None, *({str(token): _Logprob(token, logprob)} for token, logprob in pairs)]


def _rendered(choice: Choice, *, with_logprobs: bool) -> _Choice:
    tokens = choice.token_ids.tolist()
    pairs = zip(tokens, choice.logprobs.tolist(), strict=True)
    return _Choice(
        index=choice.index,
        finish_reason=choice.finish_reason.value,
        stop_reason=choice.stop_reason,
        token_ids=tokens,
        logprobs=_Logprobs([_Logprob(token, logprob) for token, logprob in pairs]) if with_logprobs else None,
        weight_versions=[_Range(part.version, part.start, part.end) for part in choice.weight_versions],
    )
