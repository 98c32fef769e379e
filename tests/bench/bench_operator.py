"""The operator at scale: JOBS jobs of 10 pods on a real API server, scheduler, controllers and kwok nodes, one machine.

The limit is measured first, in the same run on the same server: the same pods POSTed by a bare client with 4 threads.
Then the operator starts, the jobs are created by 4 threads, and the clock runs from the first request until all pods
exist, and until they and all jobs are Running.  Writes are counted by the API server; `writesPerJob` is of all writers
(client, operator, scheduler, nodes, controllers) without Leases and Events, which are `eventsPerJob`.  `idleWrites` are
those of 60 s in which nothing happens.  `coldStartSeconds` is a fresh process with everything present, until it has
looked at each job.  Event-to-reconcile is measured at 50 pod changes a second.  The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes.client.api_client import ApiClient
from kubernetes.config import new_client_from_config

from kubernetes_server import EVERYTHING, ControlPlane, control_plane, wait_until
from operator_process import OperatorProcess, make_operator_namespace, operator
from rlvr_api import contract
from rlvr_operator.parsing import parse_job
from rlvr_operator.workloads import Kit, Member, pod

Raw = dict[str, Any]
CLIENT_THREADS: Final = 4
MEMBERS: Final[tuple[Member, ...]] = (
    *(Member(role="learner", index=index) for index in range(2)),
    *(Member(role="rollout", index=index) for index in range(6)),
    *(Member(role="reward", index=index) for index in range(2)),
)
PODS_PER_JOB: Final = len(MEMBERS)
JOBS_PATH: Final = f"/apis/{contract.API_VERSION}/namespaces/default/{contract.PLURAL}"
PODS_PATH: Final = "/api/v1/namespaces/{}/pods"
QUIET_SECONDS: Final = 60.0
CHANGES_PER_SECOND: Final = 50
KIT: Final = Kit(
    trainer_image="rlvr.test/trainer:1",
    engine_image="rlvr.test/engine:1",
    reward_image="rlvr.test/reward:1",
    operator_namespace="rlvr-system",
    operator_service_account="rlvr-operator",
)
NOT_COUNTED: Final = {"leases", "events", "tokenreviews", "subjectaccessreviews", "selfsubjectaccessreviews"}
_WRITE: Final = re.compile(r"apiserver_request_total\{(.*)\} (\S+)")


@dataclass
class Bare:
    """A client that does nothing but send: one connection pool, plain dictionaries."""

    api: ApiClient
    token: str

    def ask(self, verb: str, path: str, body: Raw | None = None, content: str = "application/json") -> Raw:
        found: Raw = json.loads(self.text(path, verb=verb, body=body, content=content))
        return found

    def text(
        self,
        path: str,
        *,
        verb: str = "GET",
        body: Raw | None = None,
        content: str = "application/json",
        accept: str = "application/json, */*",
    ) -> str:
        headers = {"Content-Type": content, "Authorization": self.token, "Accept": accept}
        answer = self.api.rest_client.request(
            verb, f"{self.api.configuration.host}{path}", headers=headers, body=body, _request_timeout=60
        )
        text: str = answer.read().decode()
        assert answer.status < 300, text
        return text

    def each(self, requests: Iterable[tuple[str, str, Raw]]) -> None:
        with ThreadPoolExecutor(CLIENT_THREADS) as threads:
            list(threads.map(lambda it: self.ask(*it), requests))

    def count_pods(self, namespace: str) -> int:
        """Cheap for the server: the first and how many there are beside it."""
        part = self.ask("GET", PODS_PATH.format(namespace) + "?limit=1")
        return len(part["items"]) + int(part["metadata"].get("remainingItemCount", 0))


def job_manifest(name: str) -> Raw:
    """Two learners, six rollouts, two reward pods."""
    manifest: Raw = yaml.safe_load(Path("examples/arithmetic-cpu.yaml").read_text())
    spec = manifest["spec"]
    manifest["metadata"] = {"name": name, "namespace": "default"}
    spec["learner"] = {"nodes": 2, "gpusPerNode": 1, "backend": {"deepspeed": {"zeroStage": 2}}}
    spec["rollout"]["replicas"], spec["reward"]["replicas"] = 6, 2
    spec["checkpoint"] = {"uri": f"s3://checkpoints/{name}"}
    return manifest


def bare_pods(name: str, namespace: str) -> list[Raw]:
    """The pods that the operator would create for a job, owned by nobody."""
    manifest = job_manifest(name)
    identity = {"uid": f"uid-of-{name}", "namespace": namespace, "generation": 1}
    seen = parse_job(manifest | {"metadata": manifest["metadata"] | identity})
    pods = [pod(seen, KIT, member) for member in MEMBERS]
    for it in pods:
        del it["metadata"]["ownerReferences"]
        del it["metadata"]["labels"][contract.LABEL_MANAGED]
    return pods


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr, flush=True)


def wait_for(holds: Callable[[], bool], began: float, pause: float = 0.2) -> float:
    """Seconds since `began` when it first holds."""
    while not holds():
        assert time.perf_counter() - began < 1200, "not within 20 minutes"
        time.sleep(pause)
    return time.perf_counter() - began


def measure_limit(plane: ControlPlane, bare: Bare, jobs: int) -> dict[str, float]:
    """The same pods, sent as fast as a client can.  They stay: the operator does not see them, the server has them."""
    plane.kubectl("create", "namespace", "limit")
    wait_until(lambda: plane.try_kubectl("get", "-n", "limit", "serviceaccount", "default").returncode == 0, "account")
    pods = [it for number in range(jobs) for it in bare_pods(f"job-{number}", "limit")]
    before, began = writes_by_resource(bare), time.perf_counter()
    bare.each(("POST", PODS_PATH.format("limit"), it) for it in pods)
    created = time.perf_counter() - began
    say(f"limit: {len(pods)} pods created in {created:.1f} s")
    running = wait_for(lambda: pods_running(bare, "limit") == len(pods), began, pause=0.5)
    writes = added(before, writes_by_resource(bare))
    say(f"limit: running after {running:.1f} s")
    return {
        "limitSeconds": round(created, 2),
        "limitRunningSeconds": round(running, 2),
        "limitWritesPerJob": round(sum(writes.values()) / jobs, 1),
    }


def pods_running(bare: Bare, namespace: str) -> int:
    """By field selector, names only."""
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    path = f"{PODS_PATH.format(namespace)}?fieldSelector=status.phase%3DRunning"
    return bare.text(path, accept=accept).count('"creationTimestamp"')


def writes_by_resource(bare: Bare) -> dict[str, float]:
    """Successful writes so far as the API server counts them; what is not stored or only keeps a Lease is left out."""
    found: dict[str, float] = {}
    for line in bare.text("/metrics").splitlines():
        match = _WRITE.match(line)
        labels = dict(re.findall(r'(\w+)="([^"]*)"', match[1])) if match else {}
        is_write = labels.get("verb") in {"POST", "PUT", "PATCH", "APPLY", "DELETE"} and labels["code"][0] == "2"
        if match and is_write and labels["resource"] not in NOT_COUNTED and labels["subresource"] != "token":
            name = "/".join(part for part in (labels["resource"], labels["subresource"], labels["verb"]) if part)
            found[name] = found.get(name, 0) + float(match[2])
    return found


def added(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}


def measure_start(bare: Bare, replica: OperatorProcess, jobs: int) -> dict[str, float | None]:
    """From the first job created until all their pods exist, and until all are Running."""
    pods, cpu = jobs * PODS_PER_JOB, replica.cpu_seconds()
    before, events, began = writes_by_resource(bare), events_written(bare), time.perf_counter()
    manifests = [("POST", JOBS_PATH, job_manifest(f"job-{number}")) for number in range(jobs)]
    with ThreadPoolExecutor(1) as beside:
        sending = beside.submit(bare.each, manifests)
        created = wait_for(lambda: bare.count_pods("default") == pods, began, pause=0.5)
        sending.result()
    say(f"operator: {pods} pods created in {created:.1f} s")
    running = wait_for(lambda: pods_running(bare, "default") == pods, began, pause=0.5)
    jobs_running = wait_for(lambda: replica.metrics().get('rlvr_operator_jobs{phase="Running"}') == jobs, began)
    say(f"operator: jobs running after {jobs_running:.1f} s")
    time.sleep(3)  # what follows from the last pod is a write too
    writes = added(before, writes_by_resource(bare))
    print(json.dumps({name: round(value / jobs, 2) for name, value in sorted(writes.items())}))
    return {
        "podsCreatedSeconds": round(created, 2),
        "podsRunningSeconds": round(running, 2),
        "jobsRunningSeconds": round(jobs_running, 2),
        "cpuSeconds": round(replica.cpu_seconds() - cpu, 2),
        "writesPerJob": round(sum(writes.values()) / jobs, 1),
        "eventsPerJob": round((events_written(bare) - events) / jobs, 1),
        **quantiles("start", event_to_reconcile(replica), {}),
    }


def events_written(bare: Bare) -> float:
    lines = bare.text("/metrics").splitlines()
    wanted = re.compile(r'apiserver_request_total\{code="2\d\d",.*resource="events",.*verb="(POST|PATCH)".*\} (\S+)')
    return sum(float(match[2]) for match in map(wanted.match, lines) if match)


def event_to_reconcile(replica: OperatorProcess) -> dict[float, float]:
    """Cumulative counts by upper bound."""
    pattern = re.compile(r'rlvr_operator_event_to_reconcile_seconds_bucket\{le="([^"]+)"\}')
    found = ((pattern.match(name), value) for name, value in replica.metrics().items())
    return {float(match[1].replace("+Inf", "inf")): value for match, value in found if match}


def quantiles(phase: str, after: dict[float, float], before: dict[float, float]) -> dict[str, float | None]:
    """Upper bounds of the buckets that hold the median and the 99th percentile; none beyond the last bound."""
    counts = {bound: value - before.get(bound, 0) for bound, value in sorted(after.items())}
    total = counts.pop(float("inf"))
    found = {}
    for name, share in (("P50", 0.5), ("P99", 0.99)):
        found[f"{phase}Event{name}Seconds"] = next((bound for bound, it in counts.items() if it >= share * total), None)
    return found


def measure_idle(bare: Bare, replica: OperatorProcess) -> dict[str, float]:
    """Nothing happens; nothing may be written but Leases."""
    before, own, cpu = writes_by_resource(bare), replica.writes(), replica.cpu_seconds()
    time.sleep(QUIET_SECONDS)
    writes = {name: it for name, it in added(before, writes_by_resource(bare)).items() if not name.startswith("nodes")}
    print(json.dumps({"idle": writes}))
    return {
        "idleWrites": sum(writes.values()),
        "idleOwnWrites": replica.writes() - own,
        "idleCpuSeconds": round(replica.cpu_seconds() - cpu, 2),
    }


def measure_events(bare: Bare, replica: OperatorProcess, jobs: int, seconds: float = 20.0) -> dict[str, float | None]:
    """Pods change at a steady rate, each about another job; nothing has to be done about it."""
    before, began = event_to_reconcile(replica), time.perf_counter()
    ready = {"type": "Ready", "status": "True"}
    for number in range(int(seconds * CHANGES_PER_SECOND)):
        time.sleep(max(0.0, began + number / CHANGES_PER_SECOND - time.perf_counter()))
        since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_600_000_000 + number))
        change = {"status": {"conditions": [ready | {"lastTransitionTime": since}]}}
        path = f"{PODS_PATH.format('default')}/job-{number % jobs}-rollout-{number // jobs % 6}-a0/status"
        bare.ask("PATCH", path, change, content="application/strategic-merge-patch+json")
    rate = seconds * CHANGES_PER_SECOND / (time.perf_counter() - began)
    return {"eventsPerSecond": round(rate, 1), **quantiles("steady", event_to_reconcile(replica), before)}


def measure_cold_start(plane: ControlPlane, log: Path, jobs: int) -> dict[str, float]:
    """A process that finds everything: until each job was looked at once."""
    began = time.perf_counter()
    with operator(plane, log) as replica:
        looked = "rlvr_operator_reconcile_seconds_count"
        seconds = wait_for(lambda: (replica.metric(looked) or 0) >= jobs, began)
        return {"coldStartSeconds": round(seconds, 2), "coldStartPeakRssMiB": round(replica.peak_mib(), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    jobs: int = parser.parse_args().jobs
    folder = Path(tempfile.mkdtemp(prefix="bench-operator-"))
    with control_plane(folder / "plane", EVERYTHING) as plane:
        plane.apply_crd()
        make_operator_namespace(plane)
        plane.add_nodes(max(20, jobs * PODS_PER_JOB // 250), gpus=1000)
        with new_client_from_config(str(plane.kubeconfig)) as api:
            bare = Bare(api, "Bearer admin")
            found: dict[str, Any] = {"jobs": jobs} | measure_limit(plane, bare, jobs)
            with operator(plane, folder / "operator.log") as replica:
                found |= measure_start(bare, replica, jobs)
                found |= measure_idle(bare, replica)
                found |= measure_events(bare, replica, jobs)
                found["peakRssMiB"] = round(replica.peak_mib(), 1)
                replica.stop()
            found |= measure_cold_start(plane, folder / "operator.log", jobs)
    found["createdRatio"] = round(found["podsCreatedSeconds"] / found["limitSeconds"], 2)
    print((folder / "operator.log").read_text()[-2000:])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
