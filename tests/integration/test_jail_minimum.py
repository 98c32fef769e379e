"""The jail on machines that lack something: kernels that refuse or pretend, made by a filter over whoever asks."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

UNDER_A_FILTER = """
import json, os, sys
from rlvr_trainer.jail import kernel
from rlvr_trainer.jail.bpf import ALLOW, EQUAL, LOAD, RETURN, Instruction, packed
numbers, answer, then = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
tests = [step for number in numbers for step in (Instruction(EQUAL, number, if_false=1), Instruction(RETURN, answer))]
kernel.forbid_new_privileges()
kernel.restrict_calls(packed([Instruction(LOAD, 0), *tests, Instruction(RETURN, ALLOW)]))
os.execv(sys.executable, [sys.executable, *then])
"""
OPEN = """
import json
from rlvr_trainer.jail.boundary import Limits, open_jail
with open_jail() as jail:
    run = jail.run("print(6)", stdin="", limits=Limits(seconds=60))
    print(json.dumps({**jail.found.layers, "said": run.stdout}))
"""
RULESET, RESTRICT_SELF = 444, 446
UNSHARE = {"x86_64": 272, "aarch64": 97}[os.uname().machine]
JOB = """
{"apiVersion": "rlvr.dev/v1alpha1", "kind": "RLVRJob", "metadata": {"name": "judged"}, "spec": {
  "model": {"builtin": "arithmetic"},
  "data": {"train": {"procedural": {"task": "chain_sum", "size": 10}, "template": {"plain": {"text": "{question}"}}}},
  "algorithm": {"preset": "grpo"}, "training": {"steps": 1}, "reward": {"verifiers": [{"code": {}}]}}}
"""


def on_a_kernel(*words: str, calls: tuple[int, ...], error: int, **more: str) -> subprocess.CompletedProcess[str]:
    """`python words` where these system calls end with `error`; with 0 they pretend to have worked."""
    filtered = [sys.executable, "-c", UNDER_A_FILTER, json.dumps(calls), str(0x00050000 | error), *words]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **more}
    return subprocess.run(filtered, check=False, capture_output=True, text=True, timeout=120, env=environment)


def test_without_landlock_no_code_is_run() -> None:
    done = on_a_kernel("-c", OPEN, calls=(RULESET,), error=errno.ENOSYS)

    assert done.returncode == 1
    assert "model-written code is not run on this machine: there is no Landlock" in done.stderr


def test_a_kernel_that_only_pretends_to_restrict_is_found_out() -> None:
    done = on_a_kernel("-c", OPEN, calls=(RESTRICT_SELF,), error=0)

    assert done.returncode == 1
    assert "the jail does not hold here: a confined process may" in done.stderr
    assert "Run rewards where Landlock and seccomp filters are available" in done.stderr


def test_where_namespaces_are_refused_as_in_a_pod_the_rest_is_enough_and_what_lacks_is_told() -> None:
    done = on_a_kernel("-c", OPEN, calls=(UNSHARE,), error=errno.EPERM)

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["said"] == "6\n"
    assert (found["seccomp"], found["landlock-files"], found["namespaces"]) == (True, True, False)


@pytest.mark.parametrize("calls", [(RULESET,), (RESTRICT_SELF,)])
def test_the_service_ends_at_its_start_with_the_reason(calls: tuple[int, ...], tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(JOB)
    (tmp_path / "token").write_text("secret")
    places = {
        "RLVR_JOB": f"{tmp_path}/job.json",
        "RLVR_DIR": str(tmp_path),
        "RLVR_TOKEN_FILE": f"{tmp_path}/token",
    }
    error = errno.ENOSYS if calls == (RULESET,) else 0
    done = on_a_kernel("-m", "rlvr_trainer", "reward", calls=calls, error=error, **places)

    assert done.returncode == 64
    assert "model-written code is not run on this machine" in done.stderr
    assert "judging at" not in done.stderr
