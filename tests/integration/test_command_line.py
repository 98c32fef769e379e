"""The command line, and a role's own entry, as processes: exit codes and what is said."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from builders import a_job_dict
from rlvr_trainer.cli.main import main

RLVR = Path(sys.executable).with_name("rlvr")
Capture = pytest.CaptureFixture[str]


def a_manifest(folder: Path, **sections: object) -> str:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(a_job_dict(**sections)))
    return str(path)


def test_help_answers_at_once() -> None:
    began = time.monotonic()
    done = subprocess.run([RLVR, "--help"], check=True, capture_output=True, text=True)

    assert time.monotonic() - began < 2.0  # 0.13 s on an idle machine; this one is shared
    assert [word for word in ("run", "validate", "explain", "--version") if word not in done.stdout] == []


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, rlvr_trainer.cli.main; "
        "print(sorted({'pydantic', 'numpy', 'aiohttp', 'rich', 'torch', 'yaml'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == "[]"


def test_the_version_is_the_distribution_s(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])

    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("rlvr 0.")


def test_wrong_usage_is_exit_code_2(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as end:
        main(["run"])

    assert end.value.code == 2
    assert "JOB.yaml" in capsys.readouterr().err


def test_explain_prints_a_number_with_its_source(tmp_path: Path, capsys: Capture) -> None:
    assert main(["explain", a_manifest(tmp_path)]) == 0

    assert "DAPO 2503.14476" in capsys.readouterr().out


def test_a_setting_is_part_of_the_manifest(tmp_path: Path, capsys: Capture) -> None:
    assert main(["validate", a_manifest(tmp_path), "--set", "spec.training.steps=-5"]) == 64

    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert "spec.training.steps" in said
    assert "-5" in said


def test_everything_wrong_with_model_and_verifier_is_said_at_once(tmp_path: Path, capsys: Capture) -> None:
    manifest = a_manifest(
        tmp_path,
        model={"path": "/nowhere/model"},
        reward={"verifiers": [{"format": {"pattern": "(#"}}]},
    )

    assert main(["validate", manifest]) == 64

    said = capsys.readouterr().err
    assert [word for word in ("/nowhere/model", "format.pattern") if word not in said] == []


def test_a_run_that_cannot_be_on_one_machine_is_refused_with_the_way_out(tmp_path: Path, capsys: Capture) -> None:
    manifest = a_manifest(tmp_path, learner={"nodes": 2, "backend": {"deepspeed": {}}})

    assert main(["run", manifest, "--dir", str(tmp_path / "run"), "--plain"]) == 64

    assert "`rlvr run` is one machine: set it to 1" in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("logs/*"))


def role(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RLVR_")}
    return subprocess.run(
        [sys.executable, "-m", "rlvr_trainer", *words],
        check=False,
        capture_output=True,
        text=True,
        env=clean | environment,
        stdin=subprocess.DEVNULL,
    )


def test_a_role_without_its_surroundings_says_so_in_one_line() -> None:
    done = role("coordinator")

    assert done.returncode == 64
    assert done.stderr == (
        "error: RLVR_JOB is not set: role processes are started by `rlvr run` or the operator, which set it.\n"
    )


def test_a_role_whose_supervisor_is_gone_does_not_start() -> None:
    assert role("coordinator", RLVR_SUPERVISOR="1").returncode == -9
