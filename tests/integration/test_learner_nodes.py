"""A group over two nodes: started as two pods would be, it trains as one does and ends as one."""

import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from learner_nodes import Node, ends_of, pods
from learner_processes import Learner, published, ranks_of, report_path, wait_for
from learning import a_learner_job, a_model_folder, a_place
from rlvr_api import RLVRJob, contract
from role_processes import free_port

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
pytestmark = pytest.mark.timeout(600)
TORCHRUN = ("torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1")
HANG_SECONDS = 20
NAMED = f"no answer for {HANG_SECONDS} s (limits.hangTimeoutSeconds) from rank 1 on node {socket.gethostname()}"
"""Longer than the two nodes need to start, one after the other."""


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_model_folder(tmp_path_factory.mktemp("model"))


def a_job(folder: Path, at: Path, *, nodes: int = 2, gpus: int = 1, **spec: Any) -> RLVRJob:
    learner = {"nodes": nodes, "gpusPerNode": gpus, "backend": {"deepspeed": {"zeroStage": 2}}}
    return a_learner_job(at, (folder / "checkpoints").as_uri(), steps=4, learner=learner, **spec)


def begun(nodes: list[Node]) -> dict[int, int]:
    """Ranks of the second node, once the group has done its first step and waits for the next batch."""
    wait_for(report_path(nodes[0].place, 1).exists, nodes[0].process)
    return ranks_of(nodes[1].process)


def test_two_nodes_stopped_half_way_end_with_the_weights_of_one_node_bit_for_bit(
    tmp_path: Path, model_folder: Path
) -> None:
    """The second attempt has new pods, each of which fetches the checkpoint that both wrote."""
    together = a_job(tmp_path / "nodes", model_folder)
    with pods(tmp_path / "nodes", together, batches=(1, 2)) as nodes:
        wait_for(report_path(nodes[0].place, 2).exists, nodes[0].process)
        for node in nodes:
            node.process.terminate()
        stopped = ends_of(nodes, seconds=100)
    shards = list((tmp_path / "nodes" / "checkpoints" / "step-000002").glob("state-*-of-00002.safetensors"))
    with pods(tmp_path / "nodes", together, batches=(3, 4), attempt=1) as nodes:
        done = ends_of(nodes, seconds=100)
        last = nodes[0].place
    alone = a_place(tmp_path / "one", a_job(tmp_path / "one", model_folder, nodes=1, gpus=2), batches=4)
    process = Learner(alone)

    assert process.wait(100) == 0, process.stderr_text()
    assert {code for code, _ in stopped.values()} == {contract.EXIT_INTERRUPTED} and len(stopped) == 2
    assert len(shards) == 2
    assert {code for code, _ in done.values()} == {0} and len(done) == 2
    assert '"step":2' in (last.attempt_folder / "resume.json").read_text().replace(" ", "")
    assert not report_path(last, 2).exists()
    weights, expected = published(last), published(alone)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)


def test_torchrun_may_start_the_ranks_too(tmp_path: Path, model_folder: Path) -> None:
    """One agent per node, beside whom no launcher of ours is needed."""
    job, port = a_job(tmp_path, model_folder), str(free_port())
    places = [a_place(tmp_path / f"node-{index}", job, batches=4 * (1 - index)) for index in range(2)]
    agents = [
        Learner(place, by=(*TORCHRUN, f"--node-rank={index}", f"--master-port={port}"))
        for index, place in enumerate(places)
    ]
    try:
        codes = [agent.wait(200) for agent in agents]
    finally:
        for agent in agents:
            agent.kill()

    assert codes == [0, 0], agents[0].stderr_text()
    assert report_path(places[0], 4).exists() and not report_path(places[1], 4).exists()


def test_a_rank_of_another_node_that_is_killed_ends_both_nodes_and_its_own_names_it_first(
    tmp_path: Path, model_folder: Path
) -> None:
    with pods(tmp_path, a_job(tmp_path, model_folder), batches=[1]) as nodes:
        os.kill(begun(nodes)[1], signal.SIGKILL)
        ends = ends_of(nodes, seconds=60)
        bystander, guilty = (node.process.stderr_text() for node in nodes)

    assert [code for code, _ in ends.values()] == [137, 1]
    assert ends[0][1] - ends[1][1] > 5, "who ends first is blamed, and a node may need 5 seconds to end"
    assert ends[0][1] < 60, "the job's hangTimeoutSeconds is half an hour"
    assert f"rank 1 ended with exit code 137, on node {socket.gethostname()}" in guilty
    assert "all ranks here lost a rank of another node" in bystander


def test_an_error_of_a_rank_of_another_node_ends_both_nodes_with_its_traceback(
    tmp_path: Path, model_folder: Path
) -> None:
    """A file lies where the second node wants to stage its shard of the first checkpoint."""
    job = a_job(tmp_path, model_folder, checkpoint={"uri": (tmp_path / "checkpoints").as_uri(), "every": 1})
    blocked = tmp_path / "a0-learner-1" / "work" / "staging"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("")
    with pods(tmp_path, job, batches=[1]) as nodes:
        ends = ends_of(nodes, seconds=100)
        guilty = nodes[1].process.stderr_text()

    assert list(ends) == [1, 0] and [code for code, _ in ends.values()] == [1, 1]
    assert ends[0][1] - ends[1][1] < 60, "the job's hangTimeoutSeconds is half an hour"
    words = guilty.partition(f"rank 1 ended with exit code 1, on node {socket.gethostname()}. Its last words:")[2]
    assert "Traceback (most recent call last):" in words
    assert str(blocked) in words.rstrip().splitlines()[-1]


def test_a_rank_of_another_node_that_does_not_answer_is_named_with_its_node(tmp_path: Path, model_folder: Path) -> None:
    """Its own launcher cannot know: no rank of its node gave up.  Its pod ends with the attempt."""
    job = a_job(tmp_path, model_folder, limits={"hangTimeoutSeconds": HANG_SECONDS})
    with pods(tmp_path, job, batches=[1]) as nodes:
        os.kill(begun(nodes)[1], signal.SIGSTOP)
        ends = ends_of(nodes[:1], seconds=HANG_SECONDS + 60)
        said = nodes[0].process.stderr_text()

    assert ends[0][0] == 1
    assert said.rpartition("Its last words:")[2].rstrip().endswith(NAMED)


def test_it_is_named_before_its_part_of_a_checkpoint_is_waited_for_in_vain(tmp_path: Path, model_folder: Path) -> None:
    """The second node cannot store its part; the first, which has 45 seconds for it, asks who is there at once."""
    limits = {"hangTimeoutSeconds": HANG_SECONDS}
    (tmp_path / "blocked").write_text("")
    here, there = (
        a_job(tmp_path, model_folder, limits=limits, checkpoint={"uri": (tmp_path / name).as_uri(), "every": 1})
        for name in ("checkpoints", "blocked/checkpoints")
    )
    with pods(tmp_path, here, batches=[1], others=there) as nodes:
        victim, told = begun(nodes)[1], nodes[0].place.attempt_folder / "checkpoint.json"
        wait_for(lambda: told.exists() and "node 1 has not stored its part" in told.read_text(), nodes[0].process)
        os.kill(victim, signal.SIGSTOP)
        stopped_at = time.monotonic()
        wait_for(lambda: NAMED in nodes[0].process.stderr_text(), nodes[0].process)

    assert time.monotonic() - stopped_at < HANG_SECONDS + 45
