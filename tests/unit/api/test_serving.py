"""What vLLM is told about a job, and from where each word comes."""

from builders import a_job
from rlvr_api.serving import Argument, flags, vllm_arguments

ON_A_GPU = {"gpusPerNode": 1}


def told(*, devices: int, **sections: object) -> dict[str, str]:
    return {argument.flag: argument.value for argument in vllm_arguments(a_job(**sections).spec, devices=devices)}


def test_the_manifest_says_precision_context_and_how_many_run_at_once() -> None:
    words = told(
        devices=1,
        model={"path": "m", "dtype": "bfloat16", "maxContext": 4096},
        rollout={"engine": "vllm", "maxConcurrent": 48, "sampling": {"maxTokens": 64}},
    )

    assert (words["--dtype"], words["--max-model-len"], words["--max-num-seqs"]) == ("bfloat16", "4096", "48")


def test_a_context_that_the_manifest_leaves_open_is_the_models_own() -> None:
    assert "--max-model-len" not in told(devices=1)


def test_one_replica_spans_all_accelerators_and_leaves_room_for_new_weights() -> None:
    words = told(devices=4)

    assert words["--tensor-parallel-size"] == "4"
    assert 0.5 < float(words["--gpu-memory-utilization"]) < 1.0
    assert "--enforce-eager" not in words


def test_on_a_cpu_nothing_is_captured_and_no_prompt_is_read_in_parts() -> None:
    words = told(devices=0)

    assert {"--enforce-eager", "--no-enable-chunked-prefill"} <= words.keys()
    assert not {"--tensor-parallel-size", "--gpu-memory-utilization"} & words.keys()


def test_log_probabilities_are_of_what_is_sampled_from_and_tokens_may_come_and_go_anywhere() -> None:
    for devices in (0, 1):
        words = told(devices=devices)
        assert (words["--logprobs-mode"], words["--generation-config"]) == ("processed_logprobs", "vllm")
        assert "--enable-scale-out" in words


def test_the_transfer_of_weights_is_vllms_own_business_unless_it_takes_broadcasts() -> None:
    nccl = told(
        devices=1, rollout={"engine": "vllm", "weightTransfer": "nccl", "sampling": {"maxTokens": 64}}, learner=ON_A_GPU
    )

    assert nccl["--weight-transfer-config"] == '{"backend":"nccl"}'
    assert "--weight-transfer-config" not in told(devices=1)


def test_every_argument_says_where_it_comes_from() -> None:
    for devices in (0, 2):
        assert all(argument.source for argument in vllm_arguments(a_job().spec, devices=devices))


def test_a_switch_is_one_word_of_the_command_line() -> None:
    assert flags([Argument("--dtype", "float32", "s"), Argument("--enforce-eager", "", "s")]) == [
        "--dtype",
        "float32",
        "--enforce-eager",
    ]
