"""Who sends, where a job asks for broadcasts, who is told that it cannot, and when a policy is sent."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file

from builders import a_job
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.learner.broadcasting.sender import Nobody
from rlvr_trainer.learner.loop import publish
from rlvr_trainer.learner.opening import open_learner, open_method, open_sender
from rlvr_trainer.metrics import Board
from rlvr_trainer.storage.signatures import Signature, read_signature
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


@dataclass
class Recorder:
    """A sender that looks at what is announced when it is called."""

    announcement: Path
    seen: list[Any] = field(default_factory=list)

    def prepare(self) -> None:
        self.seen.append(self.announcement.exists())

    def send(self, label: str, weights: Mapping[str, torch.Tensor], signature: Signature) -> None:
        announced = json.loads(self.announcement.read_bytes())["label"]
        self.seen.append((announced == label, dict(weights), signature))


def test_rollouts_are_met_before_a_policy_is_announced_and_sent_to_after(tmp_path: Path) -> None:
    job, place, nobody = a_job(), a_place(tmp_path), cast("Any", None)
    recorder = Recorder(place.attempt_folder / "policy.json")
    learner = open_learner(job.spec, place, open_method(job.spec), exchange=nobody, keeper=nobody, board=Board())

    publish(replace(learner, sender=recorder), 0)

    was_announced, (is_announced, weights, signature) = recorder.seen
    assert (was_announced, is_announced) == (False, True)
    (folder,) = (path.parent for path in (tmp_path / "policies").glob("*/READY"))
    published = load_file(folder / "model.safetensors")
    assert weights.keys() == published.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in published.items())
    assert signature == read_signature(folder)
