"""How vLLM is started: every argument has a value that follows from the job and a source that says from where."""

from typing import Any

import pytest

from builders import a_job_dict
from rlvr_api import RLVRJobSpec
from rlvr_api.serving import Argument, flags, vllm_arguments


def a_spec(**sections: Any) -> RLVRJobSpec:
    return RLVRJobSpec.model_validate(a_job_dict(**sections)["spec"])


def told(*, devices: int, **sections: Any) -> dict[str, str]:
    return {it.flag: it.value for it in vllm_arguments(a_spec(**sections), devices=devices)}


def test_what_the_job_says_is_passed_on() -> None:
    job = {
        "model": {"path": "/m", "dtype": "bfloat16", "maxContext": 4096},
        "rollout": {"sampling": {"maxTokens": 64}, "maxConcurrent": 32},
    }
    arguments = told(devices=1, **job)

    assert (arguments["--dtype"], arguments["--max-model-len"], arguments["--max-num-seqs"]) == (
        "bfloat16",
        "4096",
        "32",
    )
    assert "--max-model-len" not in told(devices=1)


@pytest.mark.parametrize("devices", [0, 1, 8])
def test_the_route_of_tokens_is_open_and_probabilities_are_those_that_are_sampled_from(devices: int) -> None:
    arguments = told(devices=devices)

    assert arguments["--enable-scale-out"] == ""
    assert arguments["--logprobs-mode"] == "processed_logprobs"
    assert arguments["--generation-config"] == "vllm"


@pytest.mark.parametrize("devices", [1, 8])
def test_one_replica_spans_all_accelerators_and_leaves_room_for_new_weights(devices: int) -> None:
    arguments = told(devices=devices)

    assert (arguments["--tensor-parallel-size"], arguments["--gpu-memory-utilization"]) == (str(devices), "0.9")
    assert "--enforce-eager" not in arguments


def test_a_cpu_captures_no_graphs_and_reads_no_prompt_in_parts() -> None:
    arguments = told(devices=0)

    assert {"--enforce-eager", "--no-enable-chunked-prefill"} <= arguments.keys()
    assert not {"--tensor-parallel-size", "--gpu-memory-utilization"} & arguments.keys()


@pytest.mark.parametrize("devices", [0, 2])
def test_every_argument_says_where_it_comes_from(devices: int) -> None:
    arguments = vllm_arguments(a_spec(), devices=devices)

    assert all(it.source and it.flag.startswith("--") for it in arguments)
    assert len({it.flag for it in arguments}) == len(arguments)


def test_a_switch_is_one_word_of_the_command_line() -> None:
    assert flags([Argument("--a", "1", "x"), Argument("--b", "", "x")]) == ["--a", "1", "--b"]
