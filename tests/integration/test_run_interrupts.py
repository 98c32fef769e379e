"""`rlvr run` as a process with actors in place of the roles: Ctrl-C, kills, and two at once."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.one_machine.folder import RunFolder
from stage import STEPS, living_groups, perform, process_ids, start

SLOW = {"learner-0": {"stepSeconds": 0.5}}


def until(question: Callable[[], bool], *, seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < ends, f"still not true after {seconds} s"
        time.sleep(0.02)


def is_training(run: Path) -> bool:
    return (run / "work" / "step").exists() and len(process_ids(run)) == 5


def test_ctrl_c_saves_a_checkpoint_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    process = start(run, SLOW)
    until(lambda: is_training(run))
    process.send_signal(signal.SIGINT)

    assert process.wait(20) == 130
    assert living_groups(run) == []
    assert "stopped on request" in run.with_suffix(".log").read_text()
    stopped_at = int((run / "work" / "step").read_text())
    assert (run / "checkpoints" / f"step-{stopped_at:06d}" / "READY").exists()
    assert perform(run, {}) == 0
    assert f"(attempt 1, going on from step {stopped_at})" in capsys.readouterr().out


def test_a_second_ctrl_c_kills_everything_at_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(run, {"learner-0": {"stepSeconds": 0.5, "deaf": True}})
    until(lambda: is_training(run))
    process.send_signal(signal.SIGINT)
    until(lambda: "interrupt again" in run.with_suffix(".log").read_text())
    process.send_signal(signal.SIGINT)

    assert process.wait(5) == 130
    assert living_groups(run) == []


def test_a_run_whose_reader_is_gone_saves_and_ends(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(run, {"learner-0": {"stepSeconds": 1.5}}, output=subprocess.PIPE)
    assert process.stdout is not None
    until(lambda: is_training(run))
    process.stdout.close()

    process.wait(30)
    stopped_at = int((run / "work" / "step").read_text())
    assert (run / "checkpoints" / f"step-{stopped_at:06d}" / "READY").exists()
    assert stopped_at < STEPS
    assert living_groups(run) == []


def test_roles_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    run = tmp_path / "run"
    loyal = {"loyal": True}
    names = ("reward-0", "rollout-0-engine", "rollout-0-agent", "coordinator")
    process = start(run, {**dict.fromkeys(names, loyal), "learner-0": {**loyal, "stepSeconds": 0.5}})
    until(lambda: is_training(run))
    process.kill()
    process.wait()

    until(lambda: living_groups(run) == [], seconds=5)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = start(run, SLOW)
    try:
        until(lambda: is_training(run))
        with pytest.raises(InvalidInput, match=rf"in use by process {process.pid}.*--dir"):
            perform(run, {})
    finally:
        process.terminate()
        assert process.wait(20) == 130
    assert RunFolder(run).next_attempt() == 1
