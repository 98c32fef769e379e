"""The allow list as a seccomp filter: classic BPF over `struct seccomp_data` (linux/seccomp.h).

Pure: system calls and conditions in, instructions out.  Each call is a block whose every path ends in a return, so no
jump is longer than its block.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from rlvr_trainer.jail.syscalls import ABSENT, ALL_BITS, NUMBERS, Condition, Rule, conditions

LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
RETURN: Final = 0x06  # BPF_RET | BPF_K

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000
REFUSE: Final = 0x00050000 | 1  # EPERM
UNKNOWN: Final = 0x00050000 | 38  # ENOSYS

_MACHINES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_*
_X32: Final = 0x40000000
_NUMBER_AT: Final = 0
_MACHINE_AT: Final = 4
_ARGUMENTS_AT: Final = 16


@dataclass(frozen=True, slots=True)
class Instruction:
    """struct sock_filter: go `if_true` or `if_false` instructions further, or use `value`."""

    code: int
    value: int
    if_true: int = 0
    if_false: int = 0


def is_supported(machine: str) -> bool:
    return machine in _MACHINES


def program_for(machine: str, *, pid: int) -> list[Instruction]:
    """The filter of a jailed process `pid` on such a machine (`os.uname().machine`)."""
    rules = conditions(pid)
    blocks = [_block(number, name, rules.get(name, ())) for name, number in NUMBERS[machine].items()]
    return [*_prologue(machine), *(each for block in blocks for each in block), Instruction(RETURN, REFUSE)]


def packed(program: list[Instruction]) -> bytes:
    """The instructions as the kernel reads them: 8 bytes each."""
    return b"".join(struct.pack("HBBI", each.code, each.if_true, each.if_false, each.value) for each in program)


def _prologue(machine: str) -> list[Instruction]:
    """Another machine's calls end the process; x32's numbers are unknown; then the number is loaded."""
    return [
        Instruction(LOAD, _MACHINE_AT),
        Instruction(EQUAL, _MACHINES[machine], if_true=1),
        Instruction(RETURN, KILL),
        Instruction(LOAD, _NUMBER_AT),
        Instruction(AT_LEAST, _X32, if_false=1),
        Instruction(RETURN, UNKNOWN),
    ]


def _block(number: int, name: str, rule: Rule) -> list[Instruction]:
    checks = [each for condition in rule for each in _check(condition)]
    body = [*checks, Instruction(RETURN, UNKNOWN if name in ABSENT else ALLOW)]
    return [Instruction(EQUAL, number, if_false=len(body)), *body]


def _check(condition: Condition) -> list[Instruction]:
    """Fall through when the condition holds, else refuse."""
    mask = [] if condition.mask == ALL_BITS else [Instruction(AND, condition.mask)]
    count = len(condition.values)
    comparisons = [Instruction(EQUAL, value, if_true=count - index) for index, value in enumerate(condition.values)]
    return [Instruction(LOAD, _offset(condition)), *mask, *comparisons, Instruction(RETURN, REFUSE)]


def _offset(condition: Condition) -> int:
    return _ARGUMENTS_AT + 8 * condition.argument + 4 * condition.is_high_half
