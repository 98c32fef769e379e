"""Who is to blame when ranks end, and how they are brought to an end together."""

import os
import signal
import socket
import subprocess
import sys
import time
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_api import LearnerSpec, contract
from rlvr_trainer.learner.launching import (
    EXIT_PEER_LOST,
    Ended,
    _watch,
    code_of,
    culprit,
    environments,
    is_bystander,
    num_ranks,
    verdict,
)

codes = st.sampled_from(
    [0, 1, contract.EXIT_INVALID, contract.EXIT_CORRUPT_CHECKPOINT, contract.EXIT_INTERRUPTED, EXIT_PEER_LOST, 137]
)


def a_learner(*, nodes: int = 1, gpus: int = 0) -> LearnerSpec:
    backend = {"deepspeed": {"zeroStage": 2}}
    return LearnerSpec.model_validate({"nodes": nodes, "gpusPerNode": gpus, "backend": backend})


def endings(*codes: int) -> list[Ended]:
    return [Ended(rank=rank, code=code) for rank, code in enumerate(codes)]


@pytest.mark.parametrize(("nodes", "gpus", "expected"), [(1, 0, 1), (1, 4, 4), (2, 8, 16), (3, 0, 3)])
def test_there_is_a_rank_for_each_gpu_and_one_for_a_node_without(nodes: int, gpus: int, expected: int) -> None:
    assert num_ranks(a_learner(nodes=nodes, gpus=gpus)) == expected


def test_ranks_are_told_who_they_are_in_torchruns_words() -> None:
    meeting = {"MASTER_ADDR": "learner-0.job", "MASTER_PORT": "29500", "HOME": "/root"}
    told = environments(a_learner(nodes=2, gpus=2), meeting, node=1)

    assert sorted(told) == [2, 3]
    assert {key: told[3][key] for key in told[3] if key != "RLVR_SUPERVISOR"} == {
        "MASTER_ADDR": "learner-0.job",
        "MASTER_PORT": "29500",
        "RANK": "3",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
    }


def test_ranks_of_one_machine_meet_on_a_free_port_of_their_own() -> None:
    told = environments(a_learner(gpus=3), {}, node=0)

    assert {(one["MASTER_ADDR"], one["MASTER_PORT"]) for one in told.values()} == {
        ("127.0.0.1", told[0]["MASTER_PORT"])
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", int(told[0]["MASTER_PORT"])))


@given(first=st.permutations([0, 1, 64, EXIT_PEER_LOST]))
def test_the_culprit_is_the_first_that_failed_by_itself(first: list[int]) -> None:
    guilty = culprit(endings(*first))

    assert guilty is not None and guilty.code == next(code for code in first if code in {1, 64})


@given(found=st.lists(codes, min_size=1, max_size=6))
def test_the_groups_code_is_0_only_if_all_are_done_and_never_that_of_a_bystander(found: list[int]) -> None:
    code = code_of(endings(*found))

    assert (code == 0) == (set(found) == {0})
    assert code != EXIT_PEER_LOST
    if culprit(endings(*found)) is not None:
        assert code in found


def test_a_stop_that_all_ranks_heard_is_a_stop() -> None:
    for found in permutations([75, 75, 0]):
        assert code_of(endings(*found)) == contract.EXIT_INTERRUPTED


def test_a_lost_peer_without_a_culprit_is_an_ordinary_failure() -> None:
    assert code_of(endings(EXIT_PEER_LOST, EXIT_PEER_LOST)) == code_of(endings(75, EXIT_PEER_LOST)) == 1


def test_the_verdict_names_rank_code_node_and_last_words_of_the_culprit_alone() -> None:
    words = {0: ("gone",), 1: ("Traceback (most recent call last):", "ValueError: no")}
    said = verdict([Ended(rank=1, code=1), Ended(rank=0, code=EXIT_PEER_LOST)], [], words=words)

    assert said == (
        f"error: the learner group ends: rank 1 ended with exit code 1, on node {socket.gethostname()}. "
        "Its last words:\n  [rank 1] Traceback (most recent call last):\n  [rank 1] ValueError: no\n"
    )


def test_the_verdict_names_who_did_not_answer() -> None:
    said = verdict([Ended(rank=0, code=EXIT_PEER_LOST)], [2, 3], words={0: ("a",), 2: ("stuck",), 3: ("too",)})

    assert "rank 2, 3 did not answer the others" in said and "[rank 2] stuck" in said and "[rank 0]" not in said


def test_the_verdict_sends_people_to_another_node() -> None:
    said = verdict([Ended(rank=0, code=EXIT_PEER_LOST)], [], words={0: ("Connection closed by peer",)})

    assert "all ranks here lost a rank of another node" in said and "Connection closed by peer" in said


@pytest.mark.parametrize(
    ("codes", "left", "expected"),
    [
        ((EXIT_PEER_LOST, EXIT_PEER_LOST), [], True),
        ((0, EXIT_PEER_LOST), [], True),
        ((EXIT_PEER_LOST, 1), [], False),
        ((EXIT_PEER_LOST,), [1], False),
        ((contract.EXIT_INTERRUPTED, 0), [], False),
    ],
)
def test_a_node_is_a_bystander_when_its_ranks_lost_a_peer_and_all_of_them_could_say_so(
    codes: tuple[int, ...], left: list[int], *, expected: bool
) -> None:
    assert is_bystander(endings(*codes), left) is expected


class Process:
    def __init__(self) -> None:
        self.signals: list[str] = []

    def send_signal(self, number: int) -> None:
        self.signals.append(signal.Signals(number).name)

    def kill(self) -> None:
        self.signals.append("SIGKILL")

    def wait(self) -> None: ...


class Played:
    """A rank that ends with `ends_with` after so many seconds, or never."""

    def __init__(self, ends_with: int | None, *, after: float = 0.0) -> None:
        self._code = ends_with
        self._at = time.monotonic() + after
        self.process = Process()

    def code(self) -> int | None:
        return self._code if time.monotonic() >= self._at else None


def watched(*ranks: Played, save_seconds: float = 0.2) -> tuple[list[Ended], list[int], float]:
    group: Any = dict(enumerate(ranks))
    started = time.monotonic()
    ended, left = _watch(group, save_seconds=save_seconds)
    return ended, left, time.monotonic() - started


def test_a_failed_rank_ends_the_others_within_seconds() -> None:
    """The deaf ones are asked where they stand, then killed."""
    deaf = Played(None)
    ended, left, seconds = watched(Played(0, after=6.0), Played(1), deaf, save_seconds=0.0)

    assert (ended, left) == ([Ended(rank=1, code=1)], [0, 2])
    assert deaf.process.signals == ["SIGUSR1", "SIGKILL"] and seconds < 3


def test_the_first_rank_has_time_to_end_its_upload() -> None:
    ended, left, _ = watched(Played(EXIT_PEER_LOST, after=6.0), Played(1), save_seconds=60)

    assert ended == [Ended(rank=1, code=1), Ended(rank=0, code=EXIT_PEER_LOST)] and left == []


def test_ranks_that_stop_are_waited_for_however_long_they_take() -> None:
    ended, left, _ = watched(Played(75), Played(75, after=1.0), save_seconds=0.0)

    assert [one.rank for one in ended] == [0, 1] and left == []


def test_real_ranks_that_cannot_start_end_the_group_with_their_code_and_words() -> None:
    """Without RLVR_JOB a role process is no role process."""
    scene = (
        "from rlvr_trainer.learner.launching import launch; raise SystemExit(launch({0: {}, 1: {}}, save_seconds=5))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RLVR_")}
    done = subprocess.run(
        [sys.executable, "-c", scene], env=environment, stderr=subprocess.PIPE, text=True, check=False, timeout=200
    )

    assert done.returncode == contract.EXIT_INVALID
    assert "ended with exit code 64, on node" in done.stderr and "RLVR_JOB is not set" in done.stderr
