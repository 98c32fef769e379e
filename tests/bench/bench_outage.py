"""An operator with its shipped settings while the API server is away and while it is frozen: `make bench-outage`.

Away: the server is killed for 120 s.  `awayCpuShare` of one core and `awayLines` of log are the leader's in that time;
`rightAgainSeconds` go by from the server's return (it answers /readyz) until a job applied then has its pods.
Frozen: the server is stopped (SIGSTOP) for 120 s with its connections open; `gaveUpLeadershipSeconds` and
`unhealthySeconds` go by until the leader acts no more, and until /readyz says so.
A second replica waits all the time: two leaders at once end the run with an error.  The last line is one JSON object.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import yaml

from kubernetes_server import ControlPlane, control_plane, wait_until
from operator_process import OperatorProcess, make_operator_namespace, operator, wait_for_leader

SECONDS: Final = 120.0
PODS: Final = 3


def start_job(plane: ControlPlane) -> str:
    """Apply a job in a namespace of its own and wait until it has its pods and a status."""
    manifest, home = yaml.safe_load(Path("examples/arithmetic-cpu.yaml").read_text()), plane.make_namespace()
    manifest["metadata"] = {"name": "sums", "namespace": home}
    plane.apply(manifest)
    wait_until(lambda: is_started(plane, home), "the job has its pods and a status", SECONDS)
    return home


def is_started(plane: ControlPlane, home: str) -> bool:
    has_pods = len(plane.get("pods", "-n", home)["items"]) == PODS
    return has_pods and bool(plane.get("rlvrjob", "sums", "-n", home).get("status"))


def seconds_until(holds: Callable[[], bool], what: str, *, began: float) -> float:
    wait_until(holds, what, SECONDS)
    return round(time.monotonic() - began, 1)


def seconds_until_right(plane: ControlPlane, replicas: tuple[OperatorProcess, ...]) -> float:
    """From the server's return until a new job is under way and both replicas are ready."""
    plane.wait_ready()
    began = time.monotonic()
    start_job(plane)
    right = round(time.monotonic() - began, 1)
    wait_until(lambda: all(it.is_ready() for it in replicas), "both are ready again", SECONDS)
    wait_for_leader(*replicas)
    return right


def measure_away(plane: ControlPlane, replicas: tuple[OperatorProcess, ...]) -> dict[str, float]:
    leader = wait_for_leader(*replicas)
    cpu, lines = leader.cpu_seconds(), len(leader.lines())
    plane.kill("kube-apiserver")
    time.sleep(SECONDS)
    spent, told = leader.cpu_seconds() - cpu, leader.lines()[lines:]
    assert [it.is_leader() for it in replicas] == [False, False], "it cannot know that it still leads"
    print(*told, sep="\n", flush=True)
    plane.start("kube-apiserver")
    return {
        "awayCpuShare": round(spent / SECONDS, 4),
        "awayLines": len(told),
        "rightAgainSeconds": seconds_until_right(plane, replicas),
    }


def measure_frozen(plane: ControlPlane, replicas: tuple[OperatorProcess, ...]) -> dict[str, float]:
    leader = wait_for_leader(*replicas)
    began = time.monotonic()
    plane.freeze("kube-apiserver")
    try:
        given_up = seconds_until(lambda: not leader.is_leader(), "leadership is given up", began=began)
        unhealthy = seconds_until(lambda: leader.ask("/readyz")[0] == 503, "it is not ready", began=began)
        time.sleep(max(0.0, began + SECONDS - time.monotonic()))
    finally:
        plane.thaw("kube-apiserver")
    right = seconds_until_right(plane, replicas)
    return {"gaveUpLeadershipSeconds": given_up, "unhealthySeconds": unhealthy, "rightAfterFreezeSeconds": right}


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="bench-outage-"))
    with control_plane(folder / "plane") as plane:
        plane.apply_crd()
        make_operator_namespace(plane)
        with operator(plane, folder / "a.log") as a, operator(plane, folder / "b.log") as b:
            start_job(plane)
            found = measure_away(plane, (a, b)) | measure_frozen(plane, (a, b))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
