"""What a jailed program may ask of the kernel: an allow list of system calls, with conditions on some arguments.

Everything else is refused with EPERM: sockets that lead anywhere, ptrace and other processes' memory, new processes and
programs, namespaces, mounts, keys, io_uring, bpf, shared memory, files made, changed or removed, limits and signals of
other processes.  Threads are allowed.  Numbers are those of Linux on x86_64 and aarch64 (`asm/unistd.h`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

ALL_BITS: Final = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Condition:
    """One half of an argument, masked, must be one of `values`."""

    argument: int
    values: tuple[int, ...]
    mask: int = ALL_BITS
    is_high_half: bool = False


Rule = tuple[Condition, ...]
"""Conditions that must all hold; none: always allowed."""

_NUMBERS: Final = """
read 0 63; write 1 64; readv 19 65; writev 20 66; pread64 17 67; pwrite64 18 68; preadv 295 69; pwritev 296 70;
open 2 -; openat 257 56; close 3 57; close_range 436 436; fstat 5 80; stat 4 -; lstat 6 -; newfstatat 262 79;
statx 332 291; lseek 8 62; access 21 -; faccessat 269 48; faccessat2 439 439; readlink 89 -; readlinkat 267 78;
getcwd 79 17; chdir 80 49; getdents 78 -; getdents64 217 61; umask 95 166; mmap 9 222; munmap 11 215;
mprotect 10 226; mremap 25 216; madvise 28 233; brk 12 214; mincore 27 232; rt_sigaction 13 134;
rt_sigprocmask 14 135; rt_sigreturn 15 139; rt_sigpending 127 136; rt_sigsuspend 130 133;
rt_sigtimedwait 128 137; sigaltstack 131 132; pause 34 -; dup 32 23; dup2 33 -; dup3 292 24; pipe 22 -;
pipe2 293 59; poll 7 -; ppoll 271 73; select 23 -; pselect6 270 72; epoll_create 213 -; epoll_create1 291 20;
epoll_ctl 233 21; epoll_wait 232 -; epoll_pwait 281 22; epoll_pwait2 441 441; eventfd2 290 19; recvfrom 45 207;
nanosleep 35 101; clock_nanosleep 230 115; clock_gettime 228 113; clock_getres 229 114; gettimeofday 96 169;
time 201 -; times 100 153; alarm 37 -; setitimer 38 103; getitimer 36 102; restart_syscall 219 128;
getpid 39 172; gettid 186 178; getppid 110 173; getuid 102 174; geteuid 107 175; getgid 104 176;
getegid 108 177; getpgrp 111 -; getpgid 121 155; getsid 124 156; getgroups 115 158; getresuid 118 148;
getresgid 120 150; getrusage 98 165; getrlimit 97 163; setrlimit 160 164; uname 63 160; sysinfo 99 179;
getrandom 318 278; getcpu 309 168; sched_yield 24 124; sched_getaffinity 204 123; sched_getparam 143 121;
sched_getscheduler 145 120; sched_get_priority_max 146 125; sched_get_priority_min 147 126;
getpriority 140 141; futex 202 98; futex_waitv 449 449; set_robust_list 273 99; set_tid_address 218 96;
rseq 334 293; arch_prctl 158 -; membarrier 324 283; exit 60 93; exit_group 231 94; wait4 61 260; waitid 247 95;
kill 62 129; tgkill 234 131; prlimit64 302 261; clone 56 220; clone3 435 435; prctl 157 167; ioctl 16 29;
fcntl 72 25; socketpair 53 199; sendto 44 206;
"""
"""Name, number on x86_64, number on aarch64."""


def _numbers(column: int) -> dict[str, int]:
    rows = [row.split() for row in _NUMBERS.replace("\n", " ").split(";") if row.strip()]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


NUMBERS: Final[Mapping[str, Mapping[str, int]]] = {"x86_64": _numbers(1), "aarch64": _numbers(2)}
"""The allow list: number by name, by machine."""

_THREAD: Final = 0x00010000 | 0x00000100  # CLONE_THREAD, CLONE_VM
_NAMESPACES: Final = 0x7E020080  # CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET, TIME
_PRCTL: Final = (15, 16, 0x53564D41)  # PR_SET_NAME, PR_GET_NAME, PR_SET_VMA
_IOCTL: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FION?CLEX
_FCNTL: Final = (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)  # no F_SETOWN: it sends signals to others
ABSENT: Final = frozenset({"clone3"})
"""Answered with ENOSYS, so that the C library takes an older call whose arguments can be looked at."""


def conditions(pid: int) -> dict[str, Rule]:
    """The rules of calls that are allowed in part, for the process `pid`."""
    return {
        "kill": (Condition(0, (pid,)),),
        "tgkill": (Condition(0, (pid,)),),
        "prlimit64": (Condition(0, (0, pid)),),
        "clone": (Condition(0, (_THREAD,), mask=_THREAD | _NAMESPACES),),
        "prctl": (Condition(0, _PRCTL),),
        "ioctl": (Condition(1, _IOCTL),),
        "fcntl": (Condition(1, _FCNTL),),
        # A connected pair leads nowhere: asyncio wakes itself up with one.
        "socketpair": (Condition(0, (1,)), Condition(1, (1,), mask=0xFF)),
        "sendto": (Condition(4, (0,)), Condition(4, (0,), is_high_half=True)),
    }
