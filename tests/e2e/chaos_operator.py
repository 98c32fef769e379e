"""Kill the operator with SIGKILL at random moments while jobs come, go, pause and lose pods; then compare.

Real API server, scheduler, controllers and kwok nodes.  After the last kill everything may settle; then there must be

- no duplicate: at most one living pod for each role and index of a job, and as many as the job wants;
- no orphan: every pod and child belongs to a job that exists;
- no lost status: each job's status is about its present spec, says what it should, and its attempt never went back.

The last line is one JSON object; the exit code is 1 when something is wrong.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes.client.api_client import ApiClient
from kubernetes.config import new_client_from_config

from kubernetes_server import EVERYTHING, ControlPlane, control_plane
from operator_process import QUICK, make_operator_namespace, start_operator
from rlvr_api import contract

Raw = dict[str, Any]
HOME: Final = "default"
JOBS_PATH: Final = f"/apis/{contract.API_VERSION}/namespaces/{HOME}/{contract.PLURAL}"
PODS_PATH: Final = f"/api/v1/namespaces/{HOME}/pods"
CHILDREN_PATHS: Final = (
    f"/api/v1/namespaces/{HOME}/configmaps",
    f"/api/v1/namespaces/{HOME}/services",
    f"/apis/networking.k8s.io/v1/namespaces/{HOME}/networkpolicies",
    f"/apis/policy/v1/namespaces/{HOME}/poddisruptionbudgets",
)
MANAGED: Final = f"?labelSelector={contract.LABEL_MANAGED}%3Dtrue"
SETTLE_SECONDS: Final = 180.0
FAILED: Final = {
    "phase": "Failed",
    "containerStatuses": [
        {
            "name": "rollout",
            "image": "x",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": {"exitCode": 1, "reason": "Error"}},
        }
    ],
}


@dataclass
class Churn:
    """Jobs that somebody creates, deletes, suspends, resumes and hurts."""

    api: ApiClient
    most: int
    dice: random.Random
    done: Counter[str] = field(default_factory=Counter)
    attempts: dict[str, int] = field(default_factory=dict)
    """Highest attempt seen so far by job uid."""
    went_back: set[str] = field(default_factory=set)
    made: int = 0

    def ask(self, verb: str, path: str, body: Raw | None = None) -> tuple[int, Raw]:
        kind = "application/merge-patch+json" if verb == "PATCH" else "application/json"
        headers = {"Content-Type": kind, "Authorization": "Bearer admin"}
        answer = self.api.rest_client.request(
            verb, f"{self.api.configuration.host}{path}", headers=headers, body=body, _request_timeout=30
        )
        return answer.status, json.loads(answer.read())

    def items(self, path: str) -> list[Raw]:
        found: list[Raw] = self.ask("GET", path)[1]["items"]
        return found

    def step(self) -> None:
        """One thing happens."""
        jobs = [job for job in self.items(JOBS_PATH) if "deletionTimestamp" not in job["metadata"]]
        self.watch_attempts(jobs)
        if len(jobs) < self.most:
            self.create()
        elif jobs:
            name = self.dice.choice(jobs)["metadata"]["name"]
            self.dice.choice([self.delete, self.suspend, self.resume, self.lose_pod, self.fail_pod, self.fail_pod])(
                name
            )

    def watch_attempts(self, jobs: list[Raw]) -> None:
        for job in jobs:
            uid, attempt = job["metadata"]["uid"], job.get("status", {}).get("attempt", 0)
            if attempt < self.attempts.get(uid, 0):
                self.went_back.add(job["metadata"]["name"])
            self.attempts[uid] = max(attempt, self.attempts.get(uid, 0))

    def create(self) -> None:
        self.made += 1
        self.ask("POST", JOBS_PATH, job_manifest(f"job-{self.made}"))
        self.done["created"] += 1

    def delete(self, name: str) -> None:
        self.ask("DELETE", f"{JOBS_PATH}/{name}")
        self.done["deleted"] += 1

    def suspend(self, name: str) -> None:
        self.ask("PATCH", f"{JOBS_PATH}/{name}", {"spec": {"suspend": True}})
        self.done["suspended"] += 1

    def resume(self, name: str) -> None:
        self.ask("PATCH", f"{JOBS_PATH}/{name}", {"spec": {"suspend": False}})
        self.done["resumed"] += 1

    def lose_pod(self, name: str) -> None:
        pod = self.pod_of(name)
        if pod:
            self.ask("DELETE", f"{PODS_PATH}/{pod}", {"gracePeriodSeconds": 0})
            self.done["podsLost"] += 1

    def fail_pod(self, name: str) -> None:
        pod = self.pod_of(name)
        if pod and self.ask("PATCH", f"{PODS_PATH}/{pod}/status", {"status": FAILED})[0] == 200:
            self.done["podsFailed"] += 1

    def pod_of(self, name: str) -> str | None:
        """A rollout or reward pod; learners would use up the job's restarts."""
        pods = self.items(f"{PODS_PATH}?labelSelector={contract.LABEL_JOB}%3D{name}")
        names = [it["metadata"]["name"] for it in pods if it["metadata"]["labels"][contract.LABEL_ROLE] != "learner"]
        return self.dice.choice(names) if names else None


def job_manifest(name: str) -> Raw:
    manifest: Raw = yaml.safe_load(Path("examples/arithmetic-cpu.yaml").read_text())
    manifest["metadata"] = {"name": name, "namespace": HOME}
    manifest["spec"]["rollout"]["replicas"] = 3
    manifest["spec"]["learner"] = {"nodes": 2, "gpusPerNode": 1, "backend": {"deepspeed": {"zeroStage": 2}}}
    manifest["spec"]["checkpoint"] = {"uri": f"s3://checkpoints/{name}"}
    return manifest


def complaints(churn: Churn) -> list[str]:
    """What is not as it should be."""
    jobs = churn.items(JOBS_PATH)
    churn.watch_attempts(jobs)
    pods = churn.items(PODS_PATH + MANAGED)
    children = [it for path in CHILDREN_PATHS for it in churn.items(path + MANAGED)]
    uids = {job["metadata"]["uid"] for job in jobs}
    orphans = [it["metadata"]["name"] for it in (*pods, *children) if _owner(it) not in uids]
    return [
        *(f"orphan: {name}" for name in orphans),
        *(f"the attempt of {name} went back" for name in sorted(churn.went_back)),
        *(
            it
            for job in jobs
            for it in _complaints_of(job, [pod for pod in pods if _owner(pod) == job["metadata"]["uid"]])
        ),
    ]


def _owner(it: Raw) -> str:
    return str(it["metadata"]["ownerReferences"][0]["uid"])


def _complaints_of(job: Raw, pods: list[Raw]) -> list[str]:
    name, status = job["metadata"]["name"], job.get("status", {})
    is_suspended = bool(job["spec"].get("suspend"))
    alive = Counter(
        (it["metadata"]["labels"][contract.LABEL_ROLE], it["metadata"]["labels"][contract.LABEL_INDEX])
        for it in pods
        if it["status"].get("phase") not in {"Failed", "Succeeded"} and "deletionTimestamp" not in it["metadata"]
    )
    wanted = 0 if is_suspended else 6
    phase = "Suspended" if is_suspended else "Running"
    found = []
    if "deletionTimestamp" in job["metadata"]:
        found.append(f"{name} is not gone")
    if max(alive.values(), default=0) > 1:
        found.append(f"duplicate: {name} has {alive}")
    if len(alive) != wanted or len(pods) != wanted:
        found.append(f"{name} has {len(alive)} living of {len(pods)} pods, wants {wanted}")
    if status.get("observedGeneration") != job["metadata"]["generation"] or status.get("phase") != phase:
        found.append(f"lost status: {name} says {status.get('phase')}, should be {phase}: {status.get('message')}")
    return found


def kill_and_churn(plane: ControlPlane, churn: Churn, log: Path, kills: int) -> None:
    """The operator is started again and again; each life ends at a random moment."""
    over = threading.Event()

    def keep_churning() -> None:
        while not over.is_set():
            churn.step()
            time.sleep(churn.dice.uniform(0.0, 0.2))

    thread = threading.Thread(target=keep_churning)
    thread.start()
    for kill in range(kills):
        replica = start_operator(plane, log, **QUICK, IDENTITY="chaos")
        wait_for(lambda replica=replica: replica.is_leader(), 60)
        time.sleep(churn.dice.uniform(0.0, 4.0))
        replica.kill()
        print(f"kill {kill + 1}: {dict(churn.done)}", flush=True)
    over.set()
    thread.join()


def wait_for(holds: Callable[[], bool], seconds: float) -> bool:
    """Whether it holds before the time is over."""
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            return False
        time.sleep(0.2)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-operator-"))
    with control_plane(folder / "plane", EVERYTHING) as plane:
        plane.apply_crd()
        make_operator_namespace(plane)
        plane.add_nodes(4, gpus=1000)
        with new_client_from_config(str(plane.kubeconfig)) as api:
            churn = Churn(api, options.jobs, random.Random(options.seed))
            kill_and_churn(plane, churn, folder / "operator.log", options.kills)
            last = start_operator(plane, folder / "operator.log", **QUICK)
            began = time.monotonic()
            wait_for(lambda: not complaints(churn), SETTLE_SECONDS)
            found, seconds = complaints(churn), time.monotonic() - began
            last.kill()
    print("\n".join(found))
    words = {"duplicates": "duplicate", "orphans": "orphan", "lostStatus": "lost status", "attemptsBack": "attempt of"}
    counted = {key: sum(word in it for it in found) for key, word in words.items()}
    summary = {"kills": options.kills, "jobs": churn.made, **churn.done, **counted, "settledSeconds": round(seconds, 1)}
    print(json.dumps(summary | {"wrong": len(found)}))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
