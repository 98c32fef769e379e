"""Whole attempts of the learner against a coordinator that left its batches beforehand."""

import hashlib
import json
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from learner_processes import Learner, wait_for
from learning import a_learner_job, a_model_folder, a_place, leave_batches
from rlvr_api import CheckpointProgress, RLVRJob, contract
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.learner.app import main
from rlvr_trainer.learner.backends.base import Diverged
from rlvr_trainer.samples import CoordinatorState, StepReport
from rlvr_trainer.storage.policies import newest_policies, verify_policy
from rlvr_trainer.wire import from_json


@pytest.fixture(autouse=True)
def _leave_the_process_as_it_was() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_model_folder(tmp_path_factory.mktemp("model"))


def checkpoint(folder: Path, step: int) -> Path:
    return folder / "checkpoints" / f"step-{step:06d}"


def a_job(folder: Path, model_folder: Path, *, steps: int = 6, every: int = 2) -> RLVRJob:
    return a_learner_job(model_folder, (folder / "checkpoints").as_uri(), steps=steps, every=every)


def test_an_attempt_leaves_policies_reports_and_checkpoints(tmp_path: Path, model_folder: Path) -> None:
    place = a_place(tmp_path, a_job(tmp_path, model_folder, steps=3), batches=3)
    main(place)

    labels = newest_policies(place.folder / "policies")
    assert [label.split("-")[0] for label in labels] == ["3", "2"]
    verify_policy(place.folder / "policies" / labels[0])
    assert json.loads((place.attempt_folder / "policy.json").read_text()) == {"step": 3, "label": labels[0]}
    assert json.loads((place.attempt_folder / "resume.json").read_text())["step"] == 0
    reports = [
        from_json((place.attempt_folder / "reports" / f"{k:06d}.json").read_bytes(), StepReport) for k in (1, 2, 3)
    ]
    assert [report.trained for report in reports] == [((0, 4),), ((4, 8),), ((8, 12),)]
    assert (checkpoint(tmp_path, 2) / "READY").exists() and (checkpoint(tmp_path, 3) / "READY").exists()
    told = CheckpointProgress.model_validate_json((place.attempt_folder / "checkpoint.json").read_bytes())
    assert told.step == 3 and told.last_error is None and not told.is_waiting


def test_a_report_says_what_was_measured_and_nothing_else(tmp_path: Path, model_folder: Path) -> None:
    place = a_place(tmp_path, a_job(tmp_path, model_folder, steps=1), batches=1)
    main(place)

    report = from_json((place.attempt_folder / "reports" / "000001.json").read_bytes(), StepReport)
    assert report.metrics["rlvr_learner_learning_rate"] == 0.01
    assert report.metrics["rlvr_learner_staleness_steps_max"] == 0
    assert report.metrics["rlvr_learner_selected_tokens_ratio"] == 1
    assert 0 < report.metrics["rlvr_learner_entropy_nats"] < 3
    assert report.metrics["rlvr_learner_mismatch_kl_nats"] > 0
    assert report.metrics.keys().isdisjoint({"rlvr_learner_kl_reference_nats", "rlvr_learner_importance_weight_mean"})


def test_a_recipe_with_a_kl_term_tells_how_far_the_policy_went_from_the_base_model(
    tmp_path: Path, model_folder: Path
) -> None:
    job = a_learner_job(model_folder, (tmp_path / "checkpoints").as_uri(), steps=2, algorithm={"preset": "grpo"})
    place = a_place(tmp_path, job, batches=2)
    main(place)

    report = from_json((place.attempt_folder / "reports" / "000002.json").read_bytes(), StepReport)
    assert report.metrics["rlvr_learner_kl_reference_nats"] > 1e-3


@pytest.mark.parametrize("interrupted_at", [2, 4])
def test_a_run_that_is_resumed_ends_with_the_same_weights_bit_for_bit(
    tmp_path: Path, model_folder: Path, interrupted_at: int
) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    main(a_place(straight, a_job(straight, model_folder), batches=6))
    stop_after(broken, a_job(broken, model_folder), step=interrupted_at)
    second = a_place(broken, a_job(broken, model_folder), attempt=1)
    leave_batches(second, range(interrupted_at + 1, 7))
    main(second)

    assert json.loads((second.attempt_folder / "resume.json").read_text())["step"] == interrupted_at
    assert (checkpoint(straight, 6) / "model.safetensors").read_bytes() == (
        checkpoint(broken, 6) / "model.safetensors"
    ).read_bytes()
    assert moments(checkpoint(straight, 6)) == moments(checkpoint(broken, 6))
    assert (checkpoint(straight, 6) / "rng.pt").read_bytes() == (checkpoint(broken, 6) / "rng.pt").read_bytes()
    assert history(checkpoint(straight, 6)) == history(checkpoint(broken, 6))
    assert newest_policies(straight / "work" / "policies")[0] == newest_policies(broken / "work" / "policies")[0]


def moments(folder: Path) -> list[list[float]]:
    state = torch.load(folder / "optimizer.pt", weights_only=True)
    return [state[index][name].flatten().tolist() for index in sorted(state) for name in ("exp_avg", "exp_avg_sq")]


def history(folder: Path) -> list[tuple[int, float]]:
    reports = [from_json(line, StepReport) for line in (folder / "history.jsonl").read_bytes().splitlines()]
    return [(report.step, report.metrics["rlvr_learner_loss"]) for report in reports]


def stop_after(folder: Path, job: RLVRJob, *, step: int) -> None:
    """Let an attempt finish `step` steps and ask it to stop while it waits for the next batch."""
    place = a_place(folder, job, batches=step)
    process = Learner(place)
    wait_for((place.attempt_folder / "reports" / f"{step:06d}.json").exists, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(200) == contract.EXIT_INTERRUPTED, process.stderr_text()


def test_asked_to_stop_it_saves_the_newest_step_between_two_regular_checkpoints(
    tmp_path: Path, model_folder: Path
) -> None:
    stop_after(tmp_path, a_job(tmp_path, model_folder, every=100), step=3)

    saved = checkpoint(tmp_path, 3)
    assert (saved / "READY").exists()
    state = from_json((saved / "coordinator.json").read_bytes(), CoordinatorState)
    assert state.ledger.watermark == 12


def test_killed_outright_it_resumes_from_the_checkpoint_before(tmp_path: Path, model_folder: Path) -> None:
    job = a_job(tmp_path, model_folder)
    place = a_place(tmp_path, job, batches=3)
    process = Learner(place)
    wait_for((checkpoint(tmp_path, 2) / "READY").exists, process)
    wait_for((place.attempt_folder / "reports" / "000003.json").exists, process)
    process.kill()
    process.wait()
    second = a_place(tmp_path, job, attempt=1)
    leave_batches(second, range(3, 7))
    main(second)

    assert json.loads((second.attempt_folder / "resume.json").read_text())["step"] == 2
    assert [step for step, _ in history(checkpoint(tmp_path, 6))] == [1, 2, 3, 4, 5, 6]


def test_a_finished_job_that_is_started_again_publishes_its_last_policy_and_ends(
    tmp_path: Path, model_folder: Path
) -> None:
    job = a_job(tmp_path, model_folder, steps=2)
    main(a_place(tmp_path, job, batches=2))
    again = a_place(tmp_path, job, attempt=1)
    main(again)

    assert json.loads((again.attempt_folder / "policy.json").read_text())["step"] == 2
    published = again.folder / "policies" / newest_policies(again.folder / "policies")[0] / "model.safetensors"
    saved = load_file(checkpoint(tmp_path, 2) / "model.safetensors")
    assert all(torch.equal(tensor, saved[name]) for name, tensor in load_file(published).items())


def test_a_checkpoint_of_another_job_is_refused_by_both_identities(tmp_path: Path, model_folder: Path) -> None:
    main(a_place(tmp_path, a_job(tmp_path, model_folder, steps=2), batches=2))
    other = a_learner_job(model_folder, (tmp_path / "checkpoints").as_uri(), algorithm={"preset": "drGrpo"})

    with pytest.raises(
        InvalidInput, match=r"step 2 belongs to job [0-9a-f]{12}, this is job [0-9a-f]{12}.*a place of its own"
    ):
        main(a_place(tmp_path, other, attempt=1))


def never_resuming(folder: Path, model_folder: Path, *, steps: int) -> RLVRJob:
    checkpoints = {"uri": (folder / "checkpoints").as_uri(), "every": 1, "resume": "never"}
    return a_learner_job(model_folder, "", steps=steps, checkpoint=checkpoints)


def test_a_run_that_never_resumes_goes_on_from_its_own_checkpoints_alone(tmp_path: Path, model_folder: Path) -> None:
    first = replace(a_place(tmp_path, never_resuming(tmp_path, model_folder, steps=1), batches=1), run="mine")
    main(first)
    second = replace(a_place(tmp_path, never_resuming(tmp_path, model_folder, steps=2), attempt=1), run="mine")
    leave_batches(second, [2])
    main(second)

    assert json.loads((first.attempt_folder / "resume.json").read_text())["step"] == 0
    assert json.loads((second.attempt_folder / "resume.json").read_text())["step"] == 1


@pytest.mark.parametrize("run", ["another", ""])
def test_a_run_that_never_resumes_refuses_a_place_that_holds_another_runs_checkpoints(
    tmp_path: Path, model_folder: Path, run: str
) -> None:
    main(replace(a_place(tmp_path, a_job(tmp_path, model_folder, steps=2), batches=2), run="mine"))
    again = replace(a_place(tmp_path, never_resuming(tmp_path, model_folder, steps=2), attempt=1), run=run)

    with pytest.raises(InvalidInput, match=r"resume is never, but a checkpoint of step 2 from another run is at.*auto"):
        main(again)
    assert not (again.attempt_folder / "resume.json").exists()


def test_a_checkpoint_of_an_older_form_is_refused_with_its_name(tmp_path: Path, model_folder: Path) -> None:
    job = a_job(tmp_path, model_folder, steps=2)
    main(a_place(tmp_path, job, batches=2))
    manifest = json.loads((checkpoint(tmp_path, 2) / "manifest.json").read_bytes())
    del manifest["form"]
    sealed = json.dumps(manifest).encode()
    (checkpoint(tmp_path, 2) / "manifest.json").write_bytes(sealed)
    (checkpoint(tmp_path, 2) / "READY").write_text(hashlib.sha256(sealed).hexdigest())

    with pytest.raises(InvalidInput, match=r"step-000002 has form 1; this version reads 2"):
        main(a_place(tmp_path, job, attempt=1))


def test_a_batch_that_makes_the_loss_no_number_is_kept_and_named(tmp_path: Path, model_folder: Path) -> None:
    job = a_learner_job(
        model_folder,
        (tmp_path / "checkpoints").as_uri(),
        training={
            "steps": 3,
            "promptsPerStep": 4,
            "groupSize": 4,
            "optimizer": {"learningRate": 1.0, "weightDecay": 1e30, "maxGradNorm": 0},
        },
    )
    place = a_place(tmp_path, job, batches=3)

    with pytest.raises(Diverged, match=r"step 2, update 1 of 1: the (loss|gradient norm) is .*diverged/000002.facts"):
        main(place)

    kept, batch = (place.attempt_folder / part / "000002.facts" for part in ("diverged", "batches"))
    assert kept.read_bytes() == batch.read_bytes()
    assert not (place.attempt_folder / "reports" / "000002.json").exists()
