"""Who sends, where a job asks for broadcasts, and who is told that it cannot."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builders import a_job
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.learner.broadcasting.sender import Nobody
from rlvr_trainer.learner.opening import open_method, open_sender
from rlvr_trainer.surroundings import Surroundings

BROADCAST = {"engine": "vllm", "weightTransfer": "nccl", "sampling": {"maxTokens": 64}}


class SecondRank:
    rank, size, node_rank, node_size = 1, 2, 1, 2


def a_place(folder: Path) -> Surroundings:
    return Surroundings(job=folder / "job.json", folder=folder, token_file=folder / "token")


def test_without_a_word_about_it_folders_are_all_there_is(tmp_path: Path) -> None:
    job = a_job()

    assert isinstance(open_sender(job.spec, a_place(tmp_path), open_method(job.spec)), Nobody)


def test_a_learner_on_a_cpu_says_that_it_cannot_and_the_way_out(tmp_path: Path) -> None:
    job = a_job(rollout=BROADCAST, learner={"gpusPerNode": 1})
    method = open_method(job.spec)
    assert method.backend.device.type == "cpu"

    with pytest.raises(InvalidInput, match=r"computes on cpu: give it GPUs .* or set rollout\.weightTransfer to dir"):
        open_sender(job.spec, a_place(tmp_path), method)


def test_only_the_first_rank_sends(tmp_path: Path) -> None:
    job = a_job(rollout=BROADCAST, learner={"gpusPerNode": 1})
    second: Any = SecondRank()

    assert isinstance(open_sender(job.spec, a_place(tmp_path), replace(open_method(job.spec), ranks=second)), Nobody)
