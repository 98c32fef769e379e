"""What can be killed around a job on a real cluster: its pods, the operator, and the cluster's own processes."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from charts import NAMESPACE, RELEASE
from e2e.cluster.jobs import Team
from rlvr_api import contract

Fault = Callable[[Team, str], None]
"""Told the team and the name of its job; returns when what was struck may live again."""
FURTHER: Final = 25
"""Steps that prove that a job trains on: a status is some seconds old and may tell of steps from before."""
_FOLDER: Final = os.environ.get("RLVR_KUBERNETES", "")
_AT_ONCE: Final = ("--grace-period=0", "--force", "--wait=false")


def strike(team: Team, name: str, fault: Fault) -> float:
    """Let something happen to a job and see it train on; the seconds until then."""
    step, began = team.step(name), time.monotonic()
    fault(team, name)
    team.wait_for_step(name, step + FURTHER)
    return time.monotonic() - began


def _kill_pods(role: str, team: Team, name: str) -> None:
    labels = f"{contract.LABEL_JOB}={name},{contract.LABEL_ROLE}={role}"
    team.kubectl("delete", "pods", "-l", labels, *_AT_ONCE)


def _kill_operator(team: Team, _name: str) -> None:
    """Every replica at once."""
    labels = f"app.kubernetes.io/name={RELEASE}"
    team.cluster.kubectl("-n", NAMESPACE, "delete", "pods", "-l", labels, *_AT_ONCE)


def _take_down(how: str, component: str, seconds: float, _team: Team, _name: str) -> None:
    """One of the cluster's processes ends and is started again after `seconds`."""
    if not _FOLDER:
        pytest.skip("RLVR_KUBERNETES does not name the folder of the script that can break the cluster")
    _cluster(how, component)
    time.sleep(seconds)
    _cluster("start", component)


@contextmanager
def revival() -> Iterator[None]:
    """Meanwhile the cluster's processes that end by themselves are started again, as a kubelet does with static pods.

    A scheduler that finds its cache outdated, as after a loss of etcd, exits.
    """
    over = threading.Event()

    def revive() -> None:
        while _FOLDER and not over.wait(2.0):
            _cluster("start", "kube-scheduler", "kube-controller-manager")

    thread = threading.Thread(target=revive)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _cluster(*words: str) -> None:
    subprocess.run([Path(_FOLDER) / "cluster", *words], check=True, capture_output=True)


POD_FAULTS: Final[Mapping[str, Fault]] = {
    "rollout pod": partial(_kill_pods, "rollout"),
    "reward pod": partial(_kill_pods, "reward"),
    "learner pod": partial(_kill_pods, "learner"),
    "operator": _kill_operator,
}
CLUSTER_FAULTS: Final[Mapping[str, Fault]] = {
    "kubelet stopped for 60 s": partial(_take_down, "stop", "kubelet", 60.0),
    "API server killed for 60 s": partial(_take_down, "kill", "kube-apiserver", 60.0),
    "etcd killed": partial(_take_down, "kill", "etcd", 1.0),
}
