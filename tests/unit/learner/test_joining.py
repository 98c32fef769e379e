"""Joining as the only rank, what counts as a lost peer, and sizes that do not fit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from learning import a_learner_job
from rlvr_api import RLVRJobSpec
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.learner.joining import is_lost_peer, joined
from rlvr_trainer.learner.ranks import ALONE


def a_spec(folder: Path, *, ranks: int) -> RLVRJobSpec:
    learner = {"nodes": 1, "gpusPerNode": ranks, "backend": {"deepspeed": {"zeroStage": 1}}}
    return a_learner_job(folder, "file:///nowhere", learner=learner).spec


def test_plain_torch_is_alone_and_asks_nothing_of_its_environment(tmp_path: Path) -> None:
    with joined(a_learner_job(tmp_path, "file:///nowhere").spec, {}) as ranks:
        assert ranks is ALONE
        assert (ranks.tell(b"words"), ranks.size, ranks.node_rank) == (b"words", 1, 0)


def test_a_group_of_another_size_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with (
        pytest.raises(InvalidInput, match=r"WORLD_SIZE is 3, but learner.nodes 1 x gpusPerNode 2 makes 2 ranks.*Start"),
        joined(a_spec(tmp_path, ranks=2), {"WORLD_SIZE": "3"}),
    ):
        pytest.fail("it joined")


@pytest.mark.parametrize(
    "words",
    [
        "[../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1234",
        "Timed out waiting 10000ms for recv operation to complete",
        "NCCL communicator was aborted on rank 1",
        "Connection reset by peer",
    ],
)
def test_a_collective_that_a_peer_broke_is_known_by_its_words(words: str) -> None:
    assert is_lost_peer(RuntimeError(words))


@pytest.mark.parametrize("words", ["mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)", "CUDA out of memory"])
def test_a_ranks_own_error_is_its_own(words: str) -> None:
    assert not is_lost_peer(RuntimeError(words))


SCENE = r"""
import os, sys
import torch
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_joining import a_spec
from rlvr_trainer.learner.joining import joined

with joined(a_spec(Path("model"), ranks=2), os.environ) as ranks:
    total = ranks.add(torch.tensor([ranks.rank + 1, 10])).tolist()
    told = [ranks.tell(words if ranks.rank == 0 else b"mine") for words in (b"\x00of rank 0", b"")]
    ranks.meet()
    if sys.argv[2] == "lose" and ranks.rank == 1:
        os._exit(9)
    ranks.meet()
    print(ranks.rank, ranks.size, ranks.node_rank, ranks.node_size, total, told)
"""


def two_ranks(how: str) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of two processes that join each other."""
    here = Path(__file__).parent
    port = str(20_000 + os.getpid() % 10_000)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCENE, str(here), how],
            env={
                **os.environ,
                "PYTHONPATH": str(here.parents[1]),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
                "WORLD_SIZE": "2",
                "LOCAL_WORLD_SIZE": "2",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    said = [process.communicate(timeout=200) for process in processes]
    return [(process.returncode, *words) for process, words in zip(processes, said, strict=True)]


def test_two_ranks_add_tell_and_meet() -> None:
    told = [b"\x00of rank 0", b""]
    for rank, (code, out, errors) in enumerate(two_ranks("stay")):
        assert code == 0, errors
        assert out.strip() == f"{rank} 2 {rank} 2 [3, 20] {told}"


def test_a_rank_whose_peer_is_gone_says_that_it_is_no_culprit() -> None:
    (code, _, errors), (lost, _, _) = two_ranks("lose")

    assert (code, lost) == (76, 9)
    assert "another rank is gone or does not answer" in errors
