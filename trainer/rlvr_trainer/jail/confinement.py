"""How one process is confined, and what this machine can do for it.

`Confinement` is prepared once, by the keeper; `confine` is called in each child before it reads a byte of a program.
Below the minimum (Landlock for files, a seccomp filter) there is no jail, and so no code is run.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rlvr_trainer.jail import bpf, kernel

OPEN_FILES: Final = 64
THREADS: Final = 64
"""Of a program whose user is its own."""
SHARED_THREADS: Final = 4096
"""Of the user, where programs share the service's: a bound on bombs that spares neighbours who have the same number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one program may use."""

    cpu_seconds: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What every child of a keeper gets."""

    ruleset: int
    most_processes: int


def readable_paths() -> tuple[tuple[str, int], ...]:
    """What Python itself needs: its standard library, shared libraries, time zones, /dev/null and random numbers."""
    libraries = {str(Path(os.__file__).parent), f"{sys.base_prefix}/lib"}
    system = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache")
    devices = (("/dev/null", kernel.READ_FILE | kernel.WRITE_FILE), ("/dev/urandom", kernel.READ_FILE))
    return (*((path, kernel.READ) for path in (*sorted(libraries), *system)), *devices)


def missing_minimum(*, platform: str, machine: str, abi: int) -> str | None:
    """Why no code may be run here; None when the minimum is there."""
    if platform != "linux":
        return f"model-written code runs on Linux only, and this is {platform}"
    if not bpf.is_supported(machine):
        return f"there is no system call filter for {machine}; there is one for x86_64 and aarch64"
    if abi < 1:
        return (
            "there is no Landlock (it needs Linux 5.13, `landlock` among its security modules, and a container that "
            "allows its calls), so a program could read every file of its user"
        )
    return None


def confine(confinement: Confinement, allowance: Allowance) -> None:
    """Limit this process for good; OSError when the kernel refuses, and then nothing may be run."""
    for limit, value in limits_of(allowance, most_processes=confinement.most_processes):
        resource.setrlimit(limit, value)
    kernel.forbid_new_privileges()
    kernel.restrict_files(confinement.ruleset)
    os.close(confinement.ruleset)
    kernel.restrict_calls(bpf.packed(bpf.program_for(os.uname().machine, pid=os.getpid())))


def limits_of(allowance: Allowance, *, most_processes: int) -> Sequence[tuple[int, tuple[int, int]]]:
    """Resource limits, soft and hard."""
    cpu = allowance.cpu_seconds
    return (
        (resource.RLIMIT_AS, (allowance.memory_bytes, allowance.memory_bytes)),
        (resource.RLIMIT_CPU, (cpu, cpu)),
        (resource.RLIMIT_FSIZE, (0, 0)),
        (resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES)),
        (resource.RLIMIT_CORE, (0, 0)),
        (resource.RLIMIT_NPROC, (most_processes, most_processes)),
        (resource.RLIMIT_MEMLOCK, (0, 0)),
        (resource.RLIMIT_MSGQUEUE, (0, 0)),
    )
