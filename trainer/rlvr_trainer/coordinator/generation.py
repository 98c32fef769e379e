"""A group as vLLM's token-in, token-out route speaks it (POST /inference/v1/generate, vLLM 0.32).  Pure.

One request asks for all completions of a prompt; completion i is sampled with seed + i, so the same request gives the
same group wherever and whenever it is repeated under the same policy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from rlvr_api import EvalData, SamplingSpec
from rlvr_api.rollout import ForkingTemperatures
from rlvr_trainer.data.shuffle import keyed_integer
from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.samples import Completion, Finish, Group, Prompt, Span
from rlvr_trainer.storage.policies import step_of

Decode = Callable[[Sequence[int]], str]
_SEED_BITS: Final = 62  # seed + i stays a signed 64-bit number


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How completions are drawn."""

    num_completions: int
    max_tokens: int
    temperature: float
    top_p: float
    top_k: int
    stop_token_ids: tuple[int, ...]
    forking: ForkingTemperatures | None = None
    """Temperatures by entropy, in place of `temperature`."""


def sampling_of(
    how: SamplingSpec | EvalData, *, training: SamplingSpec, num_completions: int, end_ids: Collection[int]
) -> Sampling:
    """As `how` says, and as in training where it says nothing."""
    return Sampling(
        num_completions=num_completions,
        max_tokens=how.max_tokens or training.max_tokens,
        temperature=how.temperature,
        forking=how.forking,
        top_p=how.top_p or training.top_p,
        top_k=training.top_k,
        stop_token_ids=tuple(sorted(end_ids)),
    )


class _Logprob(msgspec.Struct):
    logprob: float


class _Logprobs(msgspec.Struct):
    content: list[_Logprob]


class _VersionSpan(msgspec.Struct):
    version: str
    start: int
    end: int


class _Choice(msgspec.Struct):
    index: int
    token_ids: list[int]
    logprobs: _Logprobs
    finish_reason: str
    weight_versions: list[_VersionSpan]


class GroupReply(msgspec.Struct):
    """Body of a reply; the rest of it is not for us."""

    choices: list[_Choice]


class Status(msgspec.Struct):
    """What an agent says at /status."""

    state: str
    version: str | None = None


def read_status(reply: Any) -> Status:
    try:
        return msgspec.convert(reply, Status)
    except msgspec.ValidationError as error:
        raise TrainerError(f"the agent's reply is not one of /status: {error}") from error


def seed_of(job_seed: int, purpose: str, number: int) -> int:
    """The seed of a group: a function of the job's seed and the prompt's place, never of time or attempt."""
    return keyed_integer(job_seed, purpose, number, bits=_SEED_BITS)


def request_body(
    token_ids: Sequence[int], *, sampling: Sampling, seed: int, label: str, request_id: str
) -> dict[str, Any]:
    """The request for one group; `label` salts the prefix cache, so no key or value outlives its policy."""
    return {
        "request_id": request_id,
        "token_ids": list(token_ids),
        "cache_salt": label,
        "sampling_params": {
            "n": sampling.num_completions,
            "seed": seed,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "stop_token_ids": list(sampling.stop_token_ids),
            "logprobs": 1,
            "detokenize": False,
            **_extra_arguments(sampling.forking),
        },
    }


def _extra_arguments(forking: ForkingTemperatures | None) -> dict[str, Any]:
    """What only the local engine understands, in vLLM's place for such things."""
    return {} if forking is None else {"extra_args": {"forking": forking.model_dump(by_alias=False)}}


def read_group(
    reply: GroupReply,
    *,
    prompt: Prompt,
    sampling: Sampling,
    allowed: Collection[str],
    decode: Decode,
) -> Group:
    """The group in an engine's reply.

    Unavailable when a completion was aborted or written by a policy outside `allowed` (the replica restarted under us);
    TrainerError when the reply breaks the route's contract.
    """
    choices = sorted(reply.choices, key=lambda choice: choice.index)
    if [choice.index for choice in choices] != list(range(sampling.num_completions)):
        raise TrainerError(f"asked for {sampling.num_completions} completions, got {len(choices)}")
    return Group(prompt=prompt, completions=tuple(_completion(choice, allowed, decode) for choice in choices))


def _completion(choice: _Choice, allowed: Collection[str], decode: Decode) -> Completion:
    if choice.finish_reason not in set(Finish):
        raise Unavailable(f"completion {choice.index} ended with {choice.finish_reason!r}")
    strangers = {span.version for span in choice.weight_versions} - set(allowed)
    if strangers:
        raise Unavailable(f"completion {choice.index} was written by policy {', '.join(sorted(strangers))}")
    logprobs = np.array([entry.logprob for entry in choice.logprobs.content], dtype=np.float32)
    _check_lengths(choice, num_logprobs=len(logprobs))
    return Completion(
        token_ids=np.array(choice.token_ids, dtype=np.int32),
        logprobs=logprobs,
        spans=tuple(Span(step=step_of(s.version), start=s.start, end=s.end) for s in choice.weight_versions),
        finish=Finish(choice.finish_reason),
        text=decode(choice.token_ids),
    )


def _check_lengths(choice: _Choice, *, num_logprobs: int) -> None:
    size = len(choice.token_ids)
    edges = [0, *(span.end for span in choice.weight_versions)]
    is_covered = edges[:-1] == [span.start for span in choice.weight_versions] and edges[-1] == size
    if size == 0 or num_logprobs != size or not is_covered:
        raise TrainerError(
            f"completion {choice.index} has {size} tokens, {num_logprobs} log-probabilities and versions for "
            f"{[(span.start, span.end) for span in choice.weight_versions]}; every token needs one of each"
        )
