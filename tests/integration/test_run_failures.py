"""`rlvr run` with actors in place of the roles: what happens when one of them fails."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rlvr_api import RLVRJob
from rlvr_trainer.one_machine.folder import RunFolder
from rlvr_trainer.one_machine.plan import ProcessSpec
from rlvr_trainer.one_machine.run import train
from stage import casting, living_groups, perform, process_ids, staged_job

Capture = pytest.CaptureFixture[str]


def test_a_run_ends_with_result_and_report_and_leaves_no_process(tmp_path: Path, capsys: Capture) -> None:
    assert perform(tmp_path / "run", {"rollout-0-engine": {"child": True}}) == 0

    folder, said = RunFolder(tmp_path / "run"), capsys.readouterr().out
    assert json.loads(folder.result.read_bytes())["tokensPerSecond"] == 600.0
    assert folder.report.read_text().startswith("<!doctype html>")
    assert "6 of 6 steps" in said
    assert living_groups(folder.root) == []
    assert folder.token.stat().st_mode & 0o777 == 0o600


def test_a_lost_engine_is_replaced_and_the_attempt_goes_on(tmp_path: Path, capsys: Capture) -> None:
    acts = {"rollout-0-engine": {"exits": [7, 0]}, "learner-0": {"stepSeconds": 0.4}}

    assert perform(tmp_path / "run", acts) == 0

    said = capsys.readouterr().out
    assert "rollout-0-engine exited with code 7; restarting in 0.5 s" in said
    assert "rollout-0-engine exited with code 0; restarting in 1 s" in said
    assert RunFolder(tmp_path / "run").next_attempt() == 1


def test_a_crashed_learner_and_its_coordinator_start_again_from_the_checkpoint(tmp_path: Path, capsys: Capture) -> None:
    assert perform(tmp_path / "run", {"learner-0": {"crash": {"0": 3}}}) == 0

    folder, said = RunFolder(tmp_path / "run"), capsys.readouterr().out
    assert "learner-0 exited with code 1; its attempt is given up (1 of 3 restarts used)" in said
    assert "attempt 1 starts from the checkpoint of step 2 in 0.5 s" in said
    assert folder.next_attempt() == 2
    assert json.loads(folder.result.read_bytes())["attempts"] == 2
    for name in ("learner-0", "coordinator"):
        assert (folder.logs / f"{name}.log").read_text().count(f" {name} attempt ") == 2
    assert (folder.logs / "reward-0.log").read_text().count(" reward-0 attempt ") == 1


def test_attempts_that_make_no_checkpoint_stop_the_run_and_show_the_log(tmp_path: Path, capsys: Capture) -> None:
    assert perform(tmp_path / "run", {"learner-0": {"crash": {"0": 1, "1": 1}}}) == 1

    said = capsys.readouterr().out
    assert "failed: learner-0 exited with code 1; 2 attempts in a row made no newer checkpoint" in said
    assert "    error: the learner gives up at step 1" in said
    assert "run the same command again" in said
    assert living_groups(tmp_path / "run") == []


def test_an_invalid_job_found_by_a_role_is_not_tried_again(tmp_path: Path, capsys: Capture) -> None:
    assert perform(tmp_path / "run", {"learner-0": {"crash": {"0": 1}, "code": 64}}) == 64

    assert "learner-0 exited with code 64: another attempt would end the same way" in capsys.readouterr().out
    assert RunFolder(tmp_path / "run").next_attempt() == 1


def test_a_role_that_cannot_be_started_takes_the_others_down(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")

    def cast(job: RLVRJob, folder: RunFolder) -> tuple[ProcessSpec, ...]:
        *first, last = casting({})(job, folder)
        return (*first, replace(last, argv=("/nowhere",)))

    with pytest.raises(ExceptionGroup):
        train(staged_job(folder), folder, plain=True, cast=cast)

    assert len(process_ids(folder.root)) == 4
    assert living_groups(folder.root) == []
