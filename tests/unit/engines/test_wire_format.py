import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asking import a_request
from rlvr_trainer.engines.local.architecture import Architecture, read_architecture
from rlvr_trainer.engines.local.requests import Choice, FinishReason, Fork, Request, VersionRange
from rlvr_trainer.engines.local.wire_format import parse_body, render_reply
from rlvr_trainer.errors import InvalidInput
from tiny_models import END_TOKEN, VOCABULARY, a_config

FORKING = {"threshold": 0.672, "temperature": 1.2, "other_temperature": 0.0}


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Architecture:
    folder: Path = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text(json.dumps(a_config()))
    return read_architecture(folder)


def parsed(architecture: Architecture, token_ids: Any = (5, 6), **sampling: Any) -> Request:
    body = {"token_ids": token_ids, "sampling_params": sampling}
    return parse_body(json.dumps(body).encode(), architecture)[0]


def test_defaults_are_those_of_vllm(architecture: Architecture) -> None:
    request = parsed(architecture)

    sampling = request.sampling
    assert (sampling.num_completions, sampling.temperature, sampling.top_p) == (1, 1.0, 1.0)
    assert sampling.top_k == VOCABULARY
    assert sampling.max_tokens == 512 - 2
    assert sampling.end_token_ids == (END_TOKEN,)
    assert request.request_id


def test_two_temperatures_take_the_place_of_the_one(architecture: Architecture) -> None:
    sampling = parsed(architecture, temperature=0.9, extra_args={"forking": FORKING}).sampling

    assert (sampling.temperature, sampling.fork) == (0.0, Fork(threshold=0.672, temperature=1.2))


def test_the_context_bounds_the_token_limit(architecture: Architecture) -> None:
    assert parsed(architecture, max_tokens=10_000).sampling.max_tokens == 510


def test_ignore_eos_leaves_only_the_requests_own_stop_tokens(architecture: Architecture) -> None:
    sampling = parsed(architecture, ignore_eos=True, stop_token_ids=[9]).sampling

    assert (sampling.end_token_ids, sampling.stop_token_ids) == ((), (9,))


@pytest.mark.parametrize("top_k", [-1, 0])
def test_both_ways_to_say_all_tokens_mean_it(architecture: Architecture, top_k: int) -> None:
    assert parsed(architecture, top_k=top_k).sampling.top_k == VOCABULARY


def test_requests_without_a_seed_get_different_ones(architecture: Architecture) -> None:
    assert parsed(architecture).sampling.seed != parsed(architecture).sampling.seed


@pytest.mark.parametrize(
    ("sampling", "named"),
    [
        ({"n": 0}, "n is 0"),
        ({"temperature": -0.5}, "temperature is -0.5"),
        ({"top_p": 0}, "top_p is 0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"top_k": -2}, "top_k is -2"),
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"extra_args": {"forking": FORKING | {"threshold": -1}}}, "extra_args.forking.threshold is -1"),
        ({"extra_args": {"forking": FORKING | {"temperature": -1}}}, "extra_args.forking.temperature is -1"),
        (
            {"extra_args": {"forking": FORKING | {"other_temperature": -1}}},
            "extra_args.forking.other_temperature is -1",
        ),
        ({"extra_args": {"forking": {"threshold": 1}}}, "temperature"),
        ({"extra_args": {"min_tokens": 1}}, "min_tokens"),
        ({"repetition_penalty": 1.2}, "repetition_penalty"),
        ({"logprobs": 5}, "5"),
        ({"seed": "x"}, "seed"),
    ],
    ids=str,
)
def test_what_it_cannot_sample_is_refused_by_name(
    architecture: Architecture, sampling: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parsed(architecture, **sampling)

    assert named in str(refusal.value)


@pytest.mark.parametrize("token_ids", [[], [1] * 512, [-1], [VOCABULARY], "text", None], ids=str)
def test_a_prompt_the_model_cannot_read_is_refused(architecture: Architecture, token_ids: Any) -> None:
    with pytest.raises(InvalidInput):
        parsed(architecture, token_ids=token_ids)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token_ids": [1]}', b"\xff"])
def test_a_body_that_is_no_request_is_refused(architecture: Architecture, body: bytes) -> None:
    with pytest.raises(InvalidInput):
        parse_body(body, architecture)


def test_streaming_is_refused(architecture: Architecture) -> None:
    body = json.dumps({"token_ids": [5], "sampling_params": {}, "stream": True}).encode()

    with pytest.raises(InvalidInput, match="stream"):
        parse_body(body, architecture)


def test_the_reply_has_vllms_shape_and_keeps_every_bit_of_a_logprob() -> None:
    logprobs = np.array([-0.1, -2.3456789], dtype=np.float32)
    choice = Choice(
        index=0,
        token_ids=np.array([7, 1]),
        logprobs=logprobs,
        finish_reason=FinishReason.STOP,
        stop_reason=None,
        weight_versions=(VersionRange(version="3-abc", start=0, end=2),),
    )

    reply = json.loads(render_reply(a_request(token_ids=[5, 6, 7]), [choice], with_logprobs=True))

    assert reply["request_id"] == "r"
    assert reply["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    (rendered,) = reply["choices"]
    content = rendered.pop("logprobs")["content"]
    assert rendered == {
        "index": 0,
        "finish_reason": "stop",
        "stop_reason": None,
        "token_ids": [7, 1],
        "weight_versions": [{"version": "3-abc", "start": 0, "end": 2}],
    }
    assert [entry["token_id"] for entry in content] == [7, 1]
    assert np.array([entry["logprob"] for entry in content], dtype=np.float32).tobytes() == logprobs.tobytes()


def test_logprobs_that_nobody_asked_for_are_not_sent() -> None:
    reply = json.loads(render_reply(a_request(), [], with_logprobs=False))

    assert reply["choices"] == []


def test_log_probabilities_of_the_prompt_are_shown_when_they_are_asked_for(architecture: Architecture) -> None:
    body = json.dumps({"token_ids": [5, 6, 7], "sampling_params": {"prompt_logprobs": 0}}).encode()
    asked = parse_body(body, architecture)
    assert (asked.with_logprobs, asked.with_prompt_logprobs) == (False, True)

    scores = np.array([-0.5, -2.0], np.float32)
    reply = json.loads(render_reply(asked.request, [], with_logprobs=False, prompt_logprobs=scores))

    first, *others = reply["prompt_logprobs"]
    assert first is None
    assert [(list(row), row[token]["logprob"]) for row, token in zip(others, "67", strict=True)] == [
        (["6"], -0.5),
        (["7"], -2.0),
    ]


def test_candidates_beside_the_prompts_own_tokens_are_refused(architecture: Architecture) -> None:
    with pytest.raises(InvalidInput, match="prompt_logprobs"):
        parsed(architecture, prompt_logprobs=2)
