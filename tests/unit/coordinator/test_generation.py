"""A group as the engine's route speaks it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from builders import a_prompt
from fakes import choice_of
from rlvr_api import EvalData, SamplingSpec
from rlvr_api.rollout import ForkingTemperatures
from rlvr_trainer.coordinator.generation import (
    GroupReply,
    Sampling,
    read_group,
    read_status,
    request_body,
    sampling_of,
    seed_of,
)
from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.samples import Finish, Group, Span
from rlvr_trainer.wire import from_json

SAMPLING = Sampling(num_completions=2, max_tokens=64, temperature=1.0, top_p=1.0, top_k=-1, stop_token_ids=(1,))
LABELS = ("4-aaaaaaaaaaaa", "5-bbbbbbbbbbbb")


def a_reply(**first_choice: Any) -> dict[str, Any]:
    """Two completions by policy 4, the first changed."""
    choices = [choice_of(index, seed=9, label=LABELS[0]) for index in range(2)]
    return {"request_id": "r", "choices": [{**choices[0], **first_choice}, choices[1]]}


def read(reply: Any) -> Group:
    found = from_json(json.dumps(reply), GroupReply)
    return read_group(found, prompt=a_prompt(), sampling=SAMPLING, allowed=LABELS, decode=str)


def test_a_request_says_everything_that_vllm_needs() -> None:
    body = request_body((4, 5), sampling=SAMPLING, seed=17, label="4-aaaaaaaaaaaa", request_id="0-1")

    assert body == {
        "request_id": "0-1",
        "token_ids": [4, 5],
        "cache_salt": "4-aaaaaaaaaaaa",
        "sampling_params": {
            "n": 2,
            "seed": 17,
            "max_tokens": 64,
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": -1,
            "stop_token_ids": [1],
            "logprobs": 1,
            "detokenize": False,
        },
    }


def test_temperatures_by_entropy_travel_where_vllm_leaves_room_for_them() -> None:
    forked = replace(SAMPLING, forking=ForkingTemperatures(threshold=0.5, temperature=1.2, other_temperature=0.3))

    body = request_body((4, 5), sampling=forked, seed=17, label="4-aaaaaaaaaaaa", request_id="0-1")

    assert body["sampling_params"]["extra_args"] == {
        "forking": {"threshold": 0.5, "temperature": 1.2, "other_temperature": 0.3}
    }


def test_a_seed_depends_on_job_purpose_and_position_alone() -> None:
    seeds = {seed_of(job, purpose, n) for job in (0, 1) for purpose in ("train", "eval") for n in range(100)}

    assert len(seeds) == 400
    assert all(0 <= seed < 2**62 for seed in seeds)
    assert seed_of(0, "train", 7) == 93849430493832051


def test_a_reply_becomes_a_group_in_order_of_index() -> None:
    reply = a_reply()
    reply["choices"].reverse()
    first, second = read(reply).completions

    assert first.token_ids.tolist() == choice_of(0, seed=9, label="")["token_ids"]
    assert second.token_ids.tolist() == choice_of(1, seed=9, label="")["token_ids"]
    assert first.logprobs.tolist() == [-0.5] * len(first.token_ids)
    assert (first.finish, first.text) == (Finish.STOP, str(first.token_ids.tolist()))


def test_a_completion_may_span_a_policy_update() -> None:
    size = len(choice_of(0, seed=9, label="")["token_ids"])
    versions = [{"version": LABELS[0], "start": 0, "end": 1}, {"version": LABELS[1], "start": 1, "end": size}]

    group = read(a_reply(weight_versions=versions))

    assert group.completions[0].spans == (Span(step=4, start=0, end=1), Span(step=5, start=1, end=size))
    assert group.oldest_step == 4


@pytest.mark.parametrize("version", ["default", "3-cccccccccccc", "4-cccccccccccc"])
def test_tokens_of_a_policy_that_was_not_asked_for_are_not_used(version: str) -> None:
    size = len(choice_of(0, seed=9, label="")["token_ids"])

    with pytest.raises(Unavailable, match=f"completion 0 was written by policy {version}"):
        read(a_reply(weight_versions=[{"version": version, "start": 0, "end": size}]))


def test_an_aborted_completion_is_not_used() -> None:
    with pytest.raises(Unavailable, match="completion 0 ended with 'abort'"):
        read(a_reply(finish_reason="abort"))


@pytest.mark.parametrize(
    "broken",
    [
        {"token_ids": [4, 5, 6, 7, 8, 9, 1]},
        {"token_ids": [], "logprobs": {"content": []}, "weight_versions": []},
        {"logprobs": {"content": [{"logprob": -0.5}]}},
        {"weight_versions": []},
        {"weight_versions": [{"version": LABELS[0], "start": 1, "end": 5}]},
        {"index": 1},
        {"logprobs": None},
        {"token_ids": "4 5"},
    ],
)
def test_a_reply_that_breaks_the_contract_is_an_error(broken: dict[str, Any]) -> None:
    with pytest.raises(TrainerError):
        read(a_reply(**broken))


def test_an_agents_status_may_lack_a_version() -> None:
    assert read_status({"state": "joining", "version": None}).version is None
    with pytest.raises(TrainerError, match="not one of /status"):
        read_status({"version": 3})


TRAINING = SamplingSpec(max_tokens=100, temperature=0.9, top_p=0.8, top_k=40)


def an_eval(**fields: Any) -> EvalData:
    return EvalData.model_validate({"procedural": {"task": "chain_sum", "size": 8}, "temperature": 0.6, **fields})


def test_an_evaluation_samples_as_training_does_where_it_says_nothing() -> None:
    found = sampling_of(an_eval(), training=TRAINING, num_completions=4, end_ids=(3, 1))

    assert found == Sampling(
        num_completions=4, max_tokens=100, temperature=0.6, top_p=0.8, top_k=40, stop_token_ids=(1, 3)
    )


def test_an_evaluation_may_sample_longer_and_from_another_nucleus() -> None:
    found = sampling_of(an_eval(topP=0.95, maxTokens=7), training=TRAINING, num_completions=1, end_ids=())

    assert (found.top_p, found.max_tokens, found.top_k) == (0.95, 7, 40)


def test_training_samples_as_the_manifest_says() -> None:
    found = sampling_of(TRAINING, training=TRAINING, num_completions=8, end_ids=(1,))

    assert (found.temperature, found.top_p, found.max_tokens) == (0.9, 0.8, 100)
