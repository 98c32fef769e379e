"""Whole attempts of several ranks: started, watched and ended as one, whatever becomes of a rank."""

import json
import os
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from learner_processes import Learner, published, ranks_of, report_path, reports_of, wait_for
from learning import a_learner_job, a_model_folder, a_place, leave_batches
from rlvr_api import RLVRJob, contract
from rlvr_trainer.samples import StepReport
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.wire import from_json

pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_model_folder(tmp_path_factory.mktemp("model"))


def a_job(folder: Path, at: Path, *, ranks: int = 0, stage: int = 2, steps: int = 4, **spec: Any) -> RLVRJob:
    """`ranks` 0: the local backend."""
    learner: dict[str, Any] = {"backend": {"local": {}}}
    if ranks:
        learner = {"nodes": 1, "gpusPerNode": ranks, "backend": {"deepspeed": {"zeroStage": stage}}}
    return a_learner_job(at, (folder / "checkpoints").as_uri(), steps=steps, learner=learner, **spec)


def finish(place: Surroundings) -> None:
    process = Learner(place)
    try:
        assert process.wait(600) == 0, process.stderr_text()
    finally:
        process.kill()


def checkpoint(folder: Path, step: int) -> Path:
    return folder / "checkpoints" / f"step-{step:06d}"


def losses(reports: list[StepReport]) -> list[float]:
    return [report.metrics["rlvr_learner_loss"] for report in reports]


def difference(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one.keys() | other.keys())


def test_two_ranks_report_publish_and_save_what_plain_torch_does_and_other_ranks_go_on(
    tmp_path: Path, model_folder: Path
) -> None:
    """The second attempt has one rank under another stage; the third is plain torch."""
    alone = a_place(tmp_path / "alone", a_job(tmp_path / "alone", model_folder, steps=6), batches=6)
    finish(alone)
    folder = tmp_path / "ranks"
    attempts = []
    for attempt, (ranks, stage, steps) in enumerate(((2, 2, 2), (1, 3, 4), (0, 0, 6))):
        # The schedule of all attempts is that of six steps.
        job = a_job(folder, model_folder, ranks=ranks, stage=stage, steps=6)
        place = a_place(folder, job, attempt=attempt)
        leave_batches(place, range(steps - 1, steps + 1))
        process = Learner(place)
        wait_for(report_path(place, steps).exists, process, seconds=400)
        if steps < 6:
            process.send_signal(signal.SIGTERM)
        assert process.wait(200) == (contract.EXIT_INTERRUPTED if steps < 6 else 0), process.stderr_text()
        attempts.append(place)

    begun = [json.loads((place.attempt_folder / "resume.json").read_bytes())["step"] for place in attempts]
    assert begun == [0, 2, 4]
    assert losses([report for place in attempts for report in reports_of(place)]) == pytest.approx(
        losses(reports_of(alone)), abs=1e-5
    )
    assert difference(published(attempts[-1]), published(alone)) < 1e-4
    assert len(list(checkpoint(folder, 2).glob("state-*-of-00002.safetensors"))) == 2
    history = (checkpoint(folder, 6) / "history.jsonl").read_bytes().splitlines()
    assert [from_json(line, StepReport).step for line in history] == [1, 2, 3, 4, 5, 6]


def begun(place: Surroundings) -> tuple[Learner, dict[int, int]]:
    """An attempt that finished its first step and waits for the next batch; its ranks."""
    process = Learner(place)
    wait_for(report_path(place, 1).exists, process, seconds=400)
    return process, ranks_of(process)


def gone(pid: int, *, seconds: float = 20) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if not Path(f"/proc/{pid}").exists():
            return True
        time.sleep(0.05)
    return False


def test_a_rank_that_is_killed_ends_the_group_and_is_named(tmp_path: Path, model_folder: Path) -> None:
    process, ranks = begun(a_place(tmp_path, a_job(tmp_path, model_folder, ranks=2), batches=1))
    killed_at = time.monotonic()
    os.kill(ranks[1], signal.SIGKILL)

    assert process.wait(100) == 137, process.stderr_text()
    assert time.monotonic() - killed_at < 100, "the job's hangTimeoutSeconds is half an hour"
    assert f"rank 1 ended with exit code 137, on node {socket.gethostname()}" in process.stderr_text()
    assert all(gone(pid) for pid in ranks.values())


def test_a_rank_that_does_not_answer_is_named(tmp_path: Path, model_folder: Path) -> None:
    """Stopped, it answers no collective; the others give up after hangTimeoutSeconds."""
    job = a_job(tmp_path, model_folder, ranks=2, limits={"hangTimeoutSeconds": 60})
    process, ranks = begun(a_place(tmp_path, job, batches=1))
    os.kill(ranks[1], signal.SIGSTOP)

    assert process.wait(300) == 1, process.stderr_text()
    said = process.stderr_text()
    assert "rank 1 did not answer the others" in said
    assert all(gone(pid) for pid in ranks.values())


def test_an_error_of_one_rank_ends_the_group_with_its_traceback(tmp_path: Path, model_folder: Path) -> None:
    """A damaged batch is damaged for all; the code is that of a damaged artifact."""
    place = a_place(tmp_path, a_job(tmp_path, model_folder, ranks=2), batches=2)
    batch = place.attempt_folder / "batches" / "000002.facts"
    batch.write_bytes((place.attempt_folder / "batches" / "000001.facts").read_bytes())
    process = Learner(place)

    assert process.wait(400) == contract.EXIT_CORRUPT_CHECKPOINT, process.stderr_text()
    said = process.stderr_text()
    assert "holds the facts of step 1" in said.rpartition("Its last words:")[2]


def test_a_lost_launcher_takes_its_ranks_with_it_and_nobody_else(tmp_path: Path, model_folder: Path) -> None:
    process, ranks = begun(a_place(tmp_path, a_job(tmp_path, model_folder, ranks=2), batches=1))
    process.kill()
    process.wait()

    assert all(gone(pid) for pid in ranks.values())


def test_a_job_that_cannot_work_is_refused_once_for_all_ranks(tmp_path: Path, model_folder: Path) -> None:
    job = a_job(tmp_path, model_folder, ranks=2, model={"path": str(tmp_path / "nowhere")})
    process = Learner(a_place(tmp_path, job))

    assert process.wait(400) == contract.EXIT_INVALID, process.stderr_text()
    assert "nowhere does not exist" in process.stderr_text()
