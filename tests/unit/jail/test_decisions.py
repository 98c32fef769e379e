"""What the jail decides by numbers: minimum, limits, endings, what a report means."""

import resource
from pathlib import Path

import pytest

from rlvr_trainer.jail.boundary import Ending, Found, Limits, Run, base_python, ending_of, examined
from rlvr_trainer.jail.confinement import Allowance, limits_of, missing_minimum, readable_paths
from rlvr_trainer.jail.inside import weakness
from rlvr_trainer.jail.kernel import READ, file_rights, ruleset_attributes

RAN = Run(ending=Ending.EXITED, code=0, stdout="", stderr="", cpu_seconds=0.1, memory_bytes=0)


@pytest.mark.parametrize(
    ("reason", "code", "cpu_seconds", "ending"),
    [
        (None, 0, 0.1, Ending.EXITED),
        (None, 1, 3.0, Ending.EXITED),
        (None, -9, 3.0, Ending.TIME),
        (None, -9, 2.98, Ending.TIME),
        (None, -9, 2.5, Ending.KILLED),
        (None, -9, 0.1, Ending.KILLED),
        (None, -11, 0.1, Ending.KILLED),
        ("time", -9, 0.1, Ending.TIME),
        ("output", 1, 0.1, Ending.OUTPUT),
        ("done", -9, 0.1, Ending.EXITED),
    ],
)
def test_an_ending_says_who_ended_it(reason: str | None, code: int, cpu_seconds: float, ending: Ending) -> None:
    assert ending_of(reason, code, is_spent=Limits(seconds=2.5).are_spent(cpu_seconds)) is ending


def test_there_is_no_jail_without_linux_a_known_machine_and_landlock() -> None:
    assert missing_minimum(platform="linux", machine="x86_64", abi=1) is None
    assert missing_minimum(platform="linux", machine="aarch64", abi=7) is None
    assert "runs on Linux only, and this is darwin" in str(missing_minimum(platform="darwin", machine="arm64", abi=0))
    assert "no system call filter for riscv64" in str(missing_minimum(platform="linux", machine="riscv64", abi=7))
    assert "there is no Landlock" in str(missing_minimum(platform="linux", machine="x86_64", abi=0))


def test_what_the_jail_lacks_above_the_minimum_has_names() -> None:
    assert all(Found(problem=None, abi=7, namespaces=True, own_user=True).layers.values())
    lean = Found(problem=None, abi=1, namespaces=False, own_user=False)
    assert [name for name, is_here in lean.layers.items() if is_here] == ["seccomp", "landlock-files"]
    assert not Found(problem="none", abi=0, namespaces=False, own_user=False).layers["seccomp"]


def test_a_report_is_what_it_says() -> None:
    found = examined(b'{"passed": 2, "problem": "f(1) is 3", "broken": false}', reason=None, program=RAN)

    assert (found.passed, found.problem, found.is_broken) == (2, "f(1) is 3", False)


def test_without_a_report_time_is_the_program_s_fault_and_anything_else_the_tests() -> None:
    late = examined(b"", reason="time", program=RAN)
    assert (late.passed, late.problem, late.is_broken) == (0, "the tests did not end in time", False)

    silent = examined(b"Killed", reason=None, program=RAN)
    assert (silent.passed, silent.is_broken) == (0, True)
    assert "the examiner gave no report: b'Killed'" in str(silent.problem)


def test_cpu_time_is_whole_seconds_rounded_up() -> None:
    assert [Limits(seconds=seconds).cpu_seconds for seconds in (0.001, 1.0, 1.2)] == [1, 1, 2]


def test_limits_are_hard_and_nothing_may_be_written_to_a_disk() -> None:
    limits = dict(limits_of(Allowance(cpu_seconds=2, memory_bytes=2**30), most_processes=64))

    assert all(soft == hard for soft, hard in limits.values())
    assert limits[resource.RLIMIT_AS] == (2**30, 2**30)
    assert limits[resource.RLIMIT_CPU] == (2, 2)
    assert limits[resource.RLIMIT_NPROC] == (64, 64)
    assert limits[resource.RLIMIT_FSIZE] == limits[resource.RLIMIT_CORE] == (0, 0)


def test_a_program_may_read_python_and_shared_libraries_and_nothing_of_its_user() -> None:
    paths = dict(readable_paths())

    assert paths[str(Path(base_python()).parents[1] / "lib")] == READ
    assert not {"/", "/etc", "/home", "/root", "/tmp", "/proc", "/usr", "/var", "/opt", str(Path.home())} & paths.keys()
    assert not any(Path(__file__).is_relative_to(path) for path in paths)


def test_every_right_that_a_landlock_abi_knows_is_handled() -> None:
    assert [file_rights(abi).bit_count() for abi in range(1, 9)] == [13, 14, 15, 15, 16, 16, 16, 16]
    assert [len(ruleset_attributes(abi)) for abi in (1, 3, 4, 5, 6, 7)] == [8, 8, 16, 16, 24, 24]


def test_what_the_self_test_found_is_named() -> None:
    assert weakness(80) == "a confined process may read /etc/passwd"
    assert weakness(85) == "a confined process may start a process"
    assert "cannot even start (it ended with -31)" in weakness(-31)
