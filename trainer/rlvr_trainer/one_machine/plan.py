"""Which processes a job is on one machine, and what each is told.  Pure.

The same roles as in a cluster: reward-i, rollout-i (agent and engine), learner-0, coordinator.  Ports are the caller's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, Final

from rlvr_api import RLVRJob, contract
from rlvr_trainer.one_machine.folder import RunFolder
from rlvr_trainer.one_machine.processes import Command
from rlvr_trainer.one_machine.state import Limits, Member, OnExit, Rule

_LOOPBACK: Final = "127.0.0.1"
_QUIET: Final = {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"}
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""For roles without torch: their thread pools would only take memory and time slices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """One process of the run."""

    name: str
    role: str
    index: int
    port: int
    member: Member
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """What this process is told beside what all are told."""
    argv: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://{_LOOPBACK}:{self.port}"


def num_ports(job: RLVRJob) -> int:
    """One for each process."""
    return job.spec.reward.replicas + 2 * job.spec.rollout.replicas + 2


def plan(job: RLVRJob, *, folder: RunFolder, ports: Iterable[int]) -> tuple[ProcessSpec, ...]:
    """The processes of `job`, in the order in which they are started."""
    port = iter(ports)
    rewards = tuple(
        _process("reward", index, next(port), folder=folder.root / f"reward-{index}")
        for index in range(job.spec.reward.replicas)
    )
    server = "vllm" if job.spec.rollout.engine == "vllm" else "engine"
    rollouts = tuple(_rollout(index, port, folder.root, server) for index in range(job.spec.rollout.replicas))
    peers = {
        "RLVR_REWARDS": ",".join(reward.url for reward in rewards),
        "RLVR_ROLLOUTS": ",".join(agent.url for _, agent in rollouts),
    }
    learner = _process("learner", 0, next(port), folder=folder.work, member=Member(rule=Rule.ATTEMPT, saves=True))
    coordinator = _process(
        "coordinator", 0, next(port), folder=folder.work, member=Member(rule=Rule.ATTEMPT), environment=peers
    )
    return (*rewards, *(process for pair in rollouts for process in pair), learner, coordinator)


def command(spec: ProcessSpec, *, folder: RunFolder, attempt: int) -> Command:
    """How to start `spec` in an attempt."""
    environment = {
        **_QUIET,
        **({} if spec.role in {"learner", "engine"} else _ONE_THREAD),
        "RLVR_JOB": str(folder.job),
        "RLVR_TOKEN_FILE": str(folder.token),
        "RLVR_DIR": str(spec.folder),
        "RLVR_RUN": folder.identity(),
        "RLVR_ATTEMPT": str(attempt),
        "RLVR_INDEX": str(spec.index),
        "RLVR_HOST": _LOOPBACK,
        "RLVR_PORT": str(spec.port),
        "RLVR_PUBLIC_URL": spec.url,
        **spec.environment,
    }
    return Command(name=spec.name, argv=spec.argv, environment=environment)


def limits_of(job: RLVRJob) -> Limits:
    """The failure rules of `job`, as numbers."""
    restart, limits = job.spec.learner.restart, job.spec.limits
    rules = {code: OnExit(rule.action) for rule in reversed(restart.rules) for code in rule.exit_codes}
    return Limits(
        max_restarts=restart.max_restarts,
        stable_seconds=restart.stable_seconds,
        no_progress_attempts=restart.no_progress_attempts,
        active_seconds=limits.active_deadline_seconds or inf,
        startup_seconds=limits.startup_deadline_seconds,
        hang_seconds=limits.hang_timeout_seconds,
        final_codes=contract.EXITS_NEVER_RETRIED,
        on_exit={contract.EXIT_INTERRUPTED: OnExit.RESTART_FREE, **rules},
    )


def scrape_targets(job: RLVRJob, specs: Iterable[ProcessSpec]) -> list[dict[str, Any]]:
    """targets.json: every process in Prometheus' file_sd format."""
    return [
        {
            "targets": [f"{_LOOPBACK}:{spec.port}"],
            "labels": {"rlvr_job": job.metadata.name, "role": spec.role, "instance": spec.name},
        }
        for spec in specs
    ]


def _rollout(index: int, port: Iterator[int], root: Path, server: str) -> tuple[ProcessSpec, ProcessSpec]:
    """Engine and agent, which share a folder as two containers share a pod's; `server` is who serves the engine."""
    folder = root / f"rollout-{index}"
    name, argv = f"rollout-{index}-engine", _argv(server)
    engine = _process("engine", index, next(port), folder=folder, name=name, argv=argv)
    told = {"RLVR_ENGINE": engine.url}
    agent = _process("rollout", index, next(port), folder=folder, name=f"rollout-{index}-agent", environment=told)
    return engine, agent


def _process(role: str, index: int, port: int, *, folder: Path, **more: Any) -> ProcessSpec:
    default = {"name": role if role == "coordinator" else f"{role}-{index}", "member": Member(rule=Rule.REPLACE)}
    return ProcessSpec(role=role, index=index, port=port, folder=folder, **{"argv": _argv(role), **default, **more})


def _argv(role: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "rlvr_trainer", role)
