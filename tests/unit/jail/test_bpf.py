"""The system call filter, run by an interpreter of classic BPF: what it allows, refuses and kills."""

import errno

import pytest

from rlvr_trainer.jail.bpf import AND, AT_LEAST, EQUAL, LOAD, RETURN, is_supported, packed, program_for
from rlvr_trainer.jail.syscalls import NUMBERS

PID = 4242
MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
ALLOWED, KILLED = "allowed", "killed"


def verdict_on(machine: str, name: str | int, *arguments: int, as_machine: str | None = None) -> str:
    """What the kernel would do: `allowed`, `killed`, or the name of an error."""
    number = NUMBERS[machine][name] if isinstance(name, str) else name
    words = [number, MACHINES[as_machine or machine], 0, 0]
    for argument in (*arguments, *[0] * (6 - len(arguments))):
        words += [argument & 0xFFFFFFFF, argument >> 32 & 0xFFFFFFFF]
    result = run(program_for(machine, pid=PID), words)
    if result == 0x7FFF0000:
        return ALLOWED
    return KILLED if result == 0x80000000 else errno.errorcode[result & 0xFFFF]


def run(program: list, words: list[int]) -> int:
    at, register = 0, 0
    while True:
        step = program[at]
        at += 1
        match step.code:
            case code if code == LOAD:
                register = words[step.value // 4]
            case code if code == AND:
                register &= step.value
            case code if code == EQUAL:
                at += step.if_true if register == step.value else step.if_false
            case code if code == AT_LEAST:
                at += step.if_true if register >= step.value else step.if_false
            case code if code == RETURN:
                return int(step.value)
            case _:
                raise AssertionError(step)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", ["read", "write", "openat", "mmap", "futex", "exit_group"])
def test_what_python_needs_is_allowed(machine: str, name: str) -> None:
    assert verdict_on(machine, name) == ALLOWED


X86_REFUSED = {
    "socket": 41, "connect": 42, "bind": 49, "ptrace": 101, "fork": 57, "vfork": 58, "execve": 59, "execveat": 322,
    "unshare": 272, "setns": 308, "mount": 165, "bpf": 321, "io_uring_setup": 425, "process_vm_readv": 310,
    "keyctl": 250, "shmget": 29, "unlink": 87, "mkdir": 83, "rename": 82, "truncate": 76, "chmod": 90,
    "memfd_create": 319, "userfaultfd": 323, "perf_event_open": 298, "pidfd_send_signal": 424, "pidfd_getfd": 438,
    "setuid": 105, "landlock_restrict_self": 446, "seccomp": 317, "sethostname": 170, "rt_sigqueueinfo": 129,
    "tkill": 200, "sendmsg": 46, "process_madvise": 440, "kexec_load": 246, "init_module": 175, "msgget": 68,
}  # fmt: skip


@pytest.mark.parametrize("name", X86_REFUSED)
def test_what_reaches_out_of_the_process_is_refused(name: str) -> None:
    assert verdict_on("x86_64", X86_REFUSED[name]) == "EPERM"


@pytest.mark.parametrize("machine", MACHINES)
def test_every_number_that_is_not_on_the_list_is_refused(machine: str) -> None:
    known = set(NUMBERS[machine].values())

    assert {verdict_on(machine, number) for number in range(600) if number not in known} == {"EPERM"}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(
    ("name", "arguments", "verdict"),
    [
        ("kill", (PID, 9), ALLOWED),
        ("kill", (1, 9), "EPERM"),
        ("kill", (2**64 - 1, 9), "EPERM"),
        ("kill", (0, 9), "EPERM"),
        ("tgkill", (PID, 5, 9), ALLOWED),
        ("tgkill", (PID + 1, 5, 9), "EPERM"),
        ("prlimit64", (0,), ALLOWED),
        ("prlimit64", (PID - 1,), "EPERM"),
        ("clone", (0x3D0F00,), ALLOWED),
        ("clone", (17,), "EPERM"),
        ("clone", (0x3D0F00 | 0x10000000,), "EPERM"),
        ("clone3", (), "ENOSYS"),
        ("prctl", (15,), ALLOWED),
        ("prctl", (38,), "EPERM"),
        ("ioctl", (1, 0x5413), ALLOWED),
        ("ioctl", (1, 0x5412), "EPERM"),
        ("fcntl", (1, 3), ALLOWED),
        ("fcntl", (1, 8), "EPERM"),
        ("socketpair", (1, 1), ALLOWED),
        ("socketpair", (1, 1 | 0x80800), ALLOWED),
        ("socketpair", (1, 2), "EPERM"),
        ("socketpair", (2, 1), "EPERM"),
        ("sendto", (3, 0, 0, 0, 0), ALLOWED),
        ("sendto", (3, 0, 0, 0, 1), "EPERM"),
        ("sendto", (3, 0, 0, 0, 2**32), "EPERM"),
    ],
)
def test_arguments_decide_where_a_call_is_allowed_in_part(
    machine: str, name: str, arguments: tuple[int, ...], verdict: str
) -> None:
    assert verdict_on(machine, name, *arguments) == verdict


def test_another_machine_s_calls_end_the_process_and_x32_s_are_unknown() -> None:
    assert verdict_on("x86_64", "read", as_machine="aarch64") == KILLED
    assert verdict_on("x86_64", 0x40000000) == "ENOSYS"


@pytest.mark.parametrize("machine", MACHINES)
def test_a_filter_fits_the_kernel_and_every_jump_stays_inside(machine: str) -> None:
    program = program_for(machine, pid=PID)

    assert is_supported(machine)
    assert not is_supported("riscv64")
    assert len(packed(program)) == 8 * len(program)
    assert len(program) <= 4096
    assert all(at + 1 + max(step.if_true, step.if_false) < len(program) for at, step in enumerate(program[:-1]))
    assert program[-1].code == RETURN
