"""What `rlvr validate` says of a job that runs on a cluster."""

from pathlib import Path

import pytest

from builders import a_job
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.one_machine.checks import check_elsewhere, check_engine, check_nodes

ON_A_CLUSTER = {"engine": "vllm", "sampling": {"maxTokens": 64}}


def test_what_only_the_cluster_can_tell_is_listed_and_no_error(tmp_path: Path) -> None:
    job = a_job(
        rollout=ON_A_CLUSTER,
        model={"path": str(tmp_path / "absent")},
        data={"train": {"file": {"path": str(tmp_path / "absent.jsonl")}}},
    )

    (question,) = check_elsewhere(job)

    assert "does not exist" in question


def test_with_the_model_at_hand_broken_data_is_an_error(tmp_path: Path) -> None:
    job = a_job(rollout=ON_A_CLUSTER, data={"train": {"file": {"path": str(tmp_path / "absent.jsonl")}}})

    with pytest.raises(InvalidInput, match=r"absent\.jsonl"):
        check_elsewhere(job)


def test_a_job_that_could_run_here_leaves_no_question_open() -> None:
    assert check_elsewhere(a_job(rollout=ON_A_CLUSTER)) == ()


def test_more_machines_than_this_one_are_refused_by_name() -> None:
    two = a_job(learner={"nodes": 2, "gpusPerNode": 1, "backend": {"deepspeed": {}}})

    with pytest.raises(InvalidInput, match=r"spec\.learner\.nodes is 2, but `rlvr run` is one machine: set it to 1"):
        check_nodes(two)
    check_nodes(a_job())


def test_a_broadcast_of_weights_is_for_clusters_and_the_way_out_is_the_folder() -> None:
    job = a_job(rollout=ON_A_CLUSTER | {"weightTransfer": "nccl"}, learner={"gpusPerNode": 1})

    with pytest.raises(InvalidInput, match="shares those of one machine: set it to directory"):
        check_engine(job)
