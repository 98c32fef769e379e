"""How new weights reach rollouts: the folder by default, a broadcast where the job can have one."""

from typing import Any

import pytest
from pydantic import ValidationError

from builders import a_job
from rlvr_trainer.cli.explain import explain


def a_broadcast(*, engine: str = "vllm", **learner: Any) -> dict[str, Any]:
    rollout = {"engine": engine, "weightTransfer": "nccl", "sampling": {"maxTokens": 64}}
    return {"model": {"path": "/models/base"}, "rollout": rollout, "learner": learner}


def test_folders_are_the_default() -> None:
    assert a_job().spec.rollout.weight_transfer == "directory"


def test_a_broadcast_is_taken_between_a_learner_and_vllm_on_gpus() -> None:
    assert a_job(**a_broadcast(gpusPerNode=1)).spec.rollout.weight_transfer == "nccl"


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        (a_broadcast(engine="local", gpusPerNode=1), "engine local cannot receive: set weightTransfer to directory"),
        (a_broadcast(gpusPerNode=0), "learner.gpusPerNode 0 is a learner on the CPU: set gpusPerNode to at least 1"),
        ({"rollout": {"weightTransfer": "rsync"}}, "Input should be 'directory' or 'nccl'"),
    ],
)
def test_what_cannot_broadcast_is_refused_with_the_way_out(sections: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        a_job(**sections)


def test_it_is_explained_with_what_vllm_is_told() -> None:
    lines = explain(a_job(**a_broadcast(gpusPerNode=1))).splitlines()

    (setting,) = (line for line in lines if line.startswith("spec.rollout.weightTransfer"))
    assert setting.split()[1:] == ["nccl", "manifest"]
    (told,) = (line for line in lines if "--weight-transfer-config" in line)
    assert told.split() == ["--weight-transfer-config", '{"backend":"nccl"}', "spec.rollout.weightTransfer"]
