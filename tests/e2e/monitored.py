"""One recording for all dashboards: two jobs train, an operator works, and a Prometheus watches them.

Troubles are made on the way, so that what should stay at zero is seen to move: judges' workers are frozen twice,
the API server is killed twice, and quotas forbid jobs a pod.  Nothing here is asserted about the jobs themselves.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from e2e.running import kill_everything, output, role_processes, start
from kubernetes_server import EVERYTHING, ControlPlane, control_plane, wait_until
from live_jobs import LiveJob
from operator_process import OperatorProcess, make_operator_namespace, operator
from prometheus import Line, Prometheus, prometheus, scraping_port, scraping_run
from rlvr_trainer.reward.processes import descendants
from role_processes import free_port, running

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
DASHBOARDS: Final = Path(__file__).parents[2] / "charts" / "rlvr-operator" / "files" / "dashboards"
NAMES: Final = ("training", "rollouts", "rewards", "operator")
JOBS: Final = {"archer-laser-d": "arithmetic-archer-laser-d", "forks-mgpo": "arithmetic-high-entropy-mgpo"}
"""Short names for legends -> examples that together use every method with numbers of its own."""
STEPS: Final = 11
"""The overlap with the base model is measured at the tenth and seen during the next."""
SETTINGS: Final = (
    f"spec.training.steps={STEPS}",
    "spec.training.promptsPerStep=16",
    "spec.algorithm.importanceSampling.mode=truncate",
    "spec.checkpoint.every=2",
    "spec.data.eval.procedural.size=32",
    "spec.data.eval.every=1",
    "spec.data.eval.completions=2",
    "spec.reward.timeoutSeconds=3",
)
WINDOW: Final = "15s"
"""What Grafana's `$__rate_interval` is here."""
SECONDS: Final = 480.0
"""Within which both jobs end, on a machine that has much else to do."""


@dataclass(frozen=True)
class Recording:
    """What Prometheus saw from `start` to `end`, in Unix seconds."""

    prometheus: Prometheus
    start: float
    end: float

    def lines(self, expression: str) -> list[Line]:
        """The series of a panel's expression, for all jobs and operators."""
        for variable, value in {
            "$__rate_interval": WINDOW,
            "$namespace": ".*",
            "$job": ".*",
            "$operator": ".*",
        }.items():
            expression = expression.replace(variable, value)
        return self.prometheus.lines(expression, start=self.start, end=self.end)


def dashboards() -> dict[str, dict[str, Any]]:
    """The chart's own files."""
    return {name: json.loads((DASHBOARDS / f"{name}.json").read_text()) for name in NAMES}


def panels_of(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


@contextmanager
def recording(folder: Path) -> Iterator[Recording]:
    """Two to three minutes of life; the server goes on answering until the block ends."""
    runs = [folder / name for name in JOBS]
    judge, port = _job_with_code(), free_port()
    with control_plane(folder / "plane", EVERYTHING) as plane, ExitStack() as stack:
        replica = stack.enter_context(_operator_on(plane, folder))
        stack.enter_context(running("reward", judge, folder / "judge", port=port))
        scrapes = [
            *(scraping_run(run) for run in runs),
            scraping_port("rlvr-operator", replica.port),
            scraping_port("judge", port, rlvr_job=judge["metadata"]["name"], role="reward"),
        ]
        server = stack.enter_context(prometheus(folder / "prometheus", *scrapes))
        began = time.time()
        _train(runs, server, plane, replica)
        yield Recording(server, began, time.time())


@contextmanager
def _operator_on(plane: ControlPlane, folder: Path) -> Iterator[OperatorProcess]:
    plane.apply_crd()
    plane.add_nodes(2)
    make_operator_namespace(plane)
    questions = {"PROGRESS_MIN": "1", "PROGRESS_MAX": "2"}
    with operator(plane, folder / "operator.log", AUDIT="1", RETRY_CEILING="1", **questions) as replica:
        yield replica


def _train(runs: Sequence[Path], server: Prometheus, plane: ControlPlane, replica: OperatorProcess) -> None:
    """Both jobs to their ends, and every trouble on the way."""
    with ExitStack() as stack:
        processes = []
        for run in runs:
            processes.append(start(run, *SETTINGS, job=_manifest(run)))
            stack.callback(kill_everything, run, processes[-1])
        _trouble_the_judges(runs, server)
        _trouble_the_operator(plane, replica)
        wait_until(lambda: all(it.poll() is not None for it in processes), "both jobs end", SECONDS)
        for run, process in zip(runs, processes, strict=True):
            assert process.returncode == 0, output(run)[-3000:]


def _manifest(run: Path) -> Path:
    """The example under the run's own, shorter name."""
    manifest = yaml.safe_load((EXAMPLES / f"{JOBS[run.name]}.yaml").read_text())
    manifest["metadata"]["name"] = run.name
    path = run.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(manifest))
    return path


def _job_with_code() -> dict[str, Any]:
    """Its judge has a jail; it is asked nothing."""
    job: dict[str, Any] = yaml.safe_load((EXAMPLES / "code-archer.yaml").read_text())
    job["spec"]["reward"]["workers"] = 1
    return job


def _trouble_the_judges(runs: Sequence[Path], server: Prometheus) -> None:
    """Freeze the workers of each job, which the judge replaces after its time-out; twice: see below."""
    for step in (1, 4):
        healthy = set(runs)
        ends = time.monotonic() + SECONDS
        while healthy:
            assert time.monotonic() < ends, f"no step above {step} of {', '.join(run.name for run in healthy)}"
            trained = {row["metric"]["rlvr_job"] for row in server.ask(f"rlvr_learner_step > {step}")}
            healthy -= {run for run in healthy if run.name in trained and _freeze_workers(run)}
            time.sleep(0.2)


def _freeze_workers(run: Path) -> bool:
    """Stop what the reward process has started; true when that was something."""
    judges = [pid for pid, role in role_processes(run).items() if role == "reward"]
    workers = [pid for judge in judges for pid in descendants(judge)]
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    return bool(workers)


def _trouble_the_operator(plane: ControlPlane, replica: OperatorProcess) -> None:
    """Twice, for the first error of a kind is no increase for Prometheus."""
    for _ in range(2):
        _forbid_a_pod(plane, replica)
        _lose_the_server(plane, replica)


def _forbid_a_pod(plane: ControlPlane, replica: OperatorProcess) -> None:
    """A job that runs wants one pod more than its namespace may have."""
    job = LiveJob(plane).reaches("Running")
    plane.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "none", "namespace": job.home},
            "spec": {"hard": {"pods": "0"}},
        }
    )
    quota = ("resourcequota", "none", "-n", job.home)
    job.waits(lambda: bool(plane.get(*quota).get("status", {}).get("hard")), "the quota holds")
    before = _counted(replica, "rlvr_operator_refusals_total")
    job.edit(rollout={"replicas": 2})
    job.waits(lambda: _counted(replica, "rlvr_operator_refusals_total") > before, "a pod is refused")


def _lose_the_server(plane: ControlPlane, replica: OperatorProcess) -> None:
    """For as long as it takes until a look fails; a pod that was refused is soon tried again."""
    before = _counted(replica, "rlvr_operator_reconcile_errors_total")
    plane.kill("kube-apiserver")
    wait_until(lambda: _counted(replica, "rlvr_operator_reconcile_errors_total") > before, "a look fails", 60)
    plane.start("kube-apiserver")
    plane.wait_ready()
    time.sleep(5.0)


def _counted(replica: OperatorProcess, name: str) -> float:
    return replica.metric(name) or 0
