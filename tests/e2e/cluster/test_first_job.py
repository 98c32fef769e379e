"""From `kubectl apply` to a policy in the object store that answers as the job said it would."""

import math
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from arithmetic_answers import an_exam, answers
from e2e.cluster.jobs import Team
from rlvr_trainer.models import builtin_path

STEPS, PROMPTS = 6, 32
BATCHES = {"steps": STEPS, "promptsPerStep": PROMPTS, "groupSize": 8}


@contextmanager
def watched(team: Team, folder: Path) -> Iterator[Path]:
    """What `kubectl get rlvrjobs -w` prints meanwhile."""
    log = folder / "watch.txt"
    kubectl = [team.cluster.kubectl_path, f"--kubeconfig={team.cluster.kubeconfig}", "-n", team.namespace]
    with log.open("wb") as out, subprocess.Popen([*kubectl, "get", "rlvrjobs", "-w"], stdout=out) as watch:
        try:
            yield log
        finally:
            watch.kill()


def served_model(checkpoint: Path, folder: Path) -> Path:
    """The base model's configuration and tokenizer with the checkpoint's weights."""
    shutil.copytree(builtin_path("arithmetic"), folder)
    shutil.copy(checkpoint / "model.safetensors", folder / "model.safetensors")
    return folder


def accuracy(model: Path) -> float:
    """Of 64 held-out problems, eight answers each, by an engine that knows nothing of the job."""
    exam = an_exam(size=64, completions=8, folder=model)
    right = [exam.is_right(it, one) for it, each in zip(exam.questions, answers(exam), strict=True) for one in each]
    return sum(right) / len(right)


@pytest.mark.timeout(1800)
def test_a_job_trains_to_its_end_and_its_policy_answers_as_it_reported(team: Team, tmp_path: Path) -> None:
    with watched(team, tmp_path) as log:
        job = team.manifest("sums", steps=STEPS, training=BATCHES, algorithm={"preset": "dapo"})
        job["spec"]["data"]["eval"]["procedural"]["size"] = 64
        team.apply(job)
        team.wait_for_complete("sums", seconds=1500)
    print(f"\n{log.read_text()}")

    status = team.status("sums")
    assert (status["phase"], status["progress"]["step"], status["checkpoint"]["step"]) == ("Succeeded", STEPS, STEPS)
    assert status["checkpoint"]["uri"].startswith(team.uri("sums"))
    assert status["progress"]["evalAccuracy"] == team.last_words("sums", "coordinator")["evalAccuracy"]
    assert "Succeeded" in log.read_text()

    account = team.prove_exactly_once("sums", tmp_path, steps=STEPS, prompts=PROMPTS)
    found = accuracy(served_model(tmp_path / "checkpoints" / "step-fetched", tmp_path / "model"))
    print(f"{account}; reported {status['progress']['evalAccuracy']:.3f}, found {found:.3f} with 512 answers")
    assert math.isclose(found, status["progress"]["evalAccuracy"], abs_tol=0.2)
