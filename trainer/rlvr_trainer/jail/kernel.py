"""The few kernel calls that Python has no function for, by ctypes: Landlock, seccomp, prctl, namespaces, capabilities.

Each raises OSError with the kernel's reason.  Landlock's rights grow with its ABI; all that there are, are handled.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
_SYS_LANDLOCK: Final = 444  # and the two after it, on every machine
_SYS_CAPSET: Final = {"x86_64": 126, "aarch64": 91}
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_KEEPCAPS: Final = 8
_PR_SET_SECCOMP: Final = 22
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_CAPABILITY_VERSION_3: Final = 0x20080522
_RULE_PATH_BENEATH: Final = 1
READ: Final = 1 << 2 | 1 << 3
"""Landlock: read files and list folders."""
READ_FILE: Final = 1 << 2
CAP_DAC_READ_SEARCH: Final = 1 << 2
WRITE_FILE: Final = 1 << 1

NEW_USER: Final = 0x10000000
NEW_PROCESSES: Final = 0x20000000 | 0x08000000 | 0x04000000 | 0x40000000
"""Process ids, IPC, host name and network of one's own."""


def file_rights(abi: int) -> int:
    """Every right over files that a Landlock ABI knows."""
    return (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(abi, 16)) - 1


def ruleset_attributes(abi: int) -> bytes:
    """The kernel's landlock_ruleset_attr: files, TCP (ABI 4), abstract sockets and signals (ABI 6) are all handled."""
    fields = [file_rights(abi), *([3] if abi >= 4 else []), *([3] if abi >= 6 else [])]
    return struct.pack(f"{len(fields)}Q", *fields)


def landlock_abi() -> int:
    """The kernel's Landlock ABI; 0 without Landlock."""
    if sys.platform != "linux":
        return 0
    return max(int(_libc.syscall(_SYS_LANDLOCK, None, 0, 1)), 0)


def make_ruleset(abi: int, paths: Iterable[tuple[str, int]]) -> int:
    """A ruleset that grants these rights beneath these paths and nothing else; a path that is absent grants nothing."""
    attributes = ctypes.create_string_buffer(ruleset_attributes(abi))
    ruleset = _checked(_libc.syscall(_SYS_LANDLOCK, attributes, len(attributes) - 1, 0))
    for path, rights in paths:
        _grant(ruleset, path, rights)
    return ruleset


def _grant(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    rule = ctypes.create_string_buffer(
        struct.pack("=Qi", rights if Path(path).is_dir() else rights & ~(1 << 3), opened)
    )
    try:
        _checked(_libc.syscall(_SYS_LANDLOCK + 1, ruleset, _RULE_PATH_BENEATH, rule, 0))
    finally:
        os.close(opened)


def restrict_files(ruleset: int) -> None:
    """From here on this process has what `ruleset` grants."""
    _checked(_libc.syscall(_SYS_LANDLOCK + 2, ruleset, 0))


def restrict_calls(program: bytes) -> None:
    """From here on system calls pass the filter `program` (bpf.packed)."""
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    pointer = ctypes.create_string_buffer(header, len(header))
    _checked(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_ulong(ctypes.addressof(pointer)), 0, 0))


def forbid_new_privileges() -> None:
    _checked(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def die_with_parent() -> None:
    """SIGKILL when the thread that started this process ends; lost when the user changes."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0))


def adopt_orphans() -> None:
    _checked(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags))


def keep_capabilities() -> None:
    """They outlive the next change of user, though none is in effect then."""
    _checked(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))


def set_capabilities(bits: int) -> None:
    """Have these capabilities, of those below 32, and no others."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _checked(_libc.syscall(_SYS_CAPSET[os.uname().machine], header, struct.pack("6I", bits, bits, 0, 0, 0, 0)))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
