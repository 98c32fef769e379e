"""Thousands of broken manifests against a real API server: `make fuzz-manifests FUZZ=2000`.

Each is refused with a message that names a field, or accepted; an accepted one is read by our own types, or refused by
them with a message that names a field.  With the operator beside it, each accepted job gets a status and then peace:
nothing more is stored, and what the server refuses is tried no more often than the operator's own rule says.  Pods run
nowhere.  The last line is one line of JSON; exit code 1 and a line for each when something did not hold.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from kubernetes_server import CONTROLLERS, Cluster, control_plane
from manifest_mutations import Mutant, mutant
from operator_process import OperatorProcess, make_operator_namespace, operator
from rlvr_api import RLVRJob
from rlvr_api.complaints import complaints
from rlvr_api.contract import DEFAULT_MANAGER
from rlvr_operator.lifecycle.strength import REFUSED_SECONDS
from served_jobs import Answer, ServedJobs, jobs_of

EXAMPLES: Final = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
TOO_LARGE: Final = "too large"
REFUSED: Final = "of which the API server refused"
STALLED_SECONDS: Final = 120.0
QUIET_SECONDS: Final = REFUSED_SECONDS
MOST_SECONDS: Final = 900.0
COUNTED: Final = (
    "manifests",
    "refused",
    "refusedInWordsOnly",
    "refusedWithoutField",
    "refusedByServerOnly",
    "serverErrors",
    "accepted",
    "acceptedButInvalid",
    "invalidWithoutField",
)


@dataclass
class Findings:
    """What came of every manifest."""

    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(COUNTED, 0)))
    failures: list[str] = field(default_factory=list)

    def fail(self, what: str, manifest: dict[str, Any], why: object) -> None:
        self.counts[what] += 1
        self.failures.append(f"{what}: {json.dumps(manifest)[:600]}\n    {why}")


def mutants(count: int, seed: int) -> Iterator[Mutant]:
    """The same for the same seed, each independent of the others."""
    originals = [_small(yaml.safe_load(path.read_text())) for path in EXAMPLES]
    for index in range(count):
        rng = random.Random(f"{seed} {index}")
        yield mutant(rng.choice(originals), f"fuzz-{index}", rng)


def _small(manifest: dict[str, Any]) -> dict[str, Any]:
    """At most two pods of a role, for this is about words and not about size; a change may ask for thousands."""
    for role, key in (("rollout", "replicas"), ("reward", "replicas"), ("learner", "nodes")):
        section = manifest["spec"].setdefault(role, {})
        section[key] = min(2, section.get(key, 1))
    return manifest


def try_one(jobs: ServedJobs, found: Mutant, findings: Findings) -> None:
    answer = jobs.create(found.manifest, fieldValidation="Strict")
    findings.counts["manifests"] += 1
    if answer.is_accepted:
        findings.counts["accepted"] += 1
        read_as_we_do(answer.body, findings)
    elif answer.code >= 500 and TOO_LARGE not in str(answer.body):
        findings.fail("serverErrors", found.manifest, answer.body)
    else:
        findings.counts["refused"] += 1
        check_words(answer, found, findings)


def check_words(answer: Answer, found: Mutant, findings: Findings) -> None:
    """Does the refusal name a field: one that was changed, or one whose rule is about it?"""
    fields = [name for name in answer.complaints if name.split(".")[0] in {"spec", "metadata", "status"}]
    said = str(answer.body.get("message", ""))
    named = [key for path in found.changed for key in path[1:] if isinstance(key, str) and key and key in said]
    findings.counts["refusedInWordsOnly"] += not fields
    if not fields and not named:
        findings.fail("refusedWithoutField", found.manifest, said)
    if is_valid_for_us(found.manifest):
        findings.fail("refusedByServerOnly", found.manifest, said)


def is_valid_for_us(manifest: dict[str, Any]) -> bool:
    try:
        RLVRJob.model_validate_json(json.dumps(manifest))
    except ValidationError:
        return False
    return True


def read_as_we_do(stored: dict[str, Any], findings: Findings) -> None:
    """As the operator reads it: everything but a status that the API server dropped anyway."""
    try:
        RLVRJob.model_validate_json(json.dumps({**stored, "status": None}))
    except ValidationError as error:
        findings.counts["acceptedButInvalid"] += 1
        for complaint in complaints(error):
            if complaint.path[:1] != ("spec",):
                findings.fail("invalidWithoutField", stored, complaint.text)


def watch_over(replica: OperatorProcess, jobs: ServedJobs, findings: Findings) -> None:
    """Until each accepted job has a status, or no further one gets it; then until nothing is written any more."""
    missing, since = _without_status(jobs), time.monotonic()
    while missing and time.monotonic() - since < STALLED_SECONDS and replica.process.poll() is None:
        time.sleep(2)
        if len(now_missing := _without_status(jobs)) < len(missing):
            missing, since = now_missing, time.monotonic()
    findings.counts["withoutStatus"] = len(missing)
    findings.failures += [f"withoutStatus: {json.dumps(job['spec'])[:600]}" for job in missing]
    if missing:
        findings.failures.append("the operator's metrics: " + json.dumps(replica.metrics()))
    began = time.monotonic()
    while (restless := _written_meanwhile(replica, jobs)) and time.monotonic() - began < MOST_SECONDS:
        findings.counts["quietAfterSeconds"] = round(time.monotonic() - began)
    findings.counts["restless"] = len(restless)
    findings.failures += [f"restless: {what} was still written" for what in restless]
    _look_at_the_log(replica, findings)


def _written_meanwhile(replica: OperatorProcess, jobs: ServedJobs) -> list[str]:
    """Jobs and kinds of requests that change while one would expect peace, and jobs that are tried too often."""
    before, asked, said = _versions(jobs), _writes(replica), len(replica.lines())
    time.sleep(QUIET_SECONDS)
    after, answered = _versions(jobs), _writes(replica)
    tried = Counter(line.split()[3] for line in replica.lines()[said:] if REFUSED in line)
    return [
        *(name for name, version in after.items() if before.get(name) != version),
        *(name for name, count in answered.items() if asked.get(name) != count),
        *(f"{name} {count} times" for name, count in tried.items() if count > 2),  # at both ends of the time
    ]


def _writes(replica: OperatorProcess) -> dict[str, float]:
    """Requests that store something, apart from the Lease; an operator that does not answer is not at peace."""
    found = {name: count for name, count in replica.metrics().items() if "api_requests_total" in name}
    if not found:
        return {"no answer": time.monotonic()}
    stored = {name: count for name, count in found.items() if 'code="2' in name}
    reads = ('verb="GET"', 'verb="WATCH"', 'resource="leases"')
    return {name: count for name, count in stored.items() if not any(word in name for word in reads)}


def _look_at_the_log(replica: OperatorProcess, findings: Findings) -> None:
    log = replica.log.read_text(errors="replace")
    code = replica.process.poll()
    findings.counts["operatorDied"], findings.counts["tracebacks"] = int(code is not None), log.count("Traceback")
    if code is not None:
        findings.failures.append(f"the operator ended with {code}:\n{log[-3000:]}")
    if findings.failures:
        findings.failures.append(f"the operator's log ends with:\n{log[-3000:]}")
    if "Traceback" in log:
        findings.failures.append(f"the operator logged a traceback:{log.partition('Traceback')[2][:3000]}")


def _without_status(jobs: ServedJobs) -> list[dict[str, Any]]:
    """Those that the operator should have looked at."""
    return [job for job in jobs.listing() if job["spec"]["managedBy"] == DEFAULT_MANAGER and not job.get("status")]


def _versions(jobs: ServedJobs) -> dict[str, str]:
    return {job["metadata"]["name"]: job["metadata"]["resourceVersion"] for job in jobs.listing()}


def fuzz(cluster: Cluster, folder: Path, count: int, seed: int, *, with_operator: bool) -> Findings:
    findings = Findings()
    namespace = cluster.make_namespace()
    make_operator_namespace(cluster)
    with ExitStack() as stack:
        jobs = stack.enter_context(jobs_of(cluster, namespace))
        replica = stack.enter_context(operator(cluster, folder / "operator.log")) if with_operator else None
        for found in mutants(count, seed):
            try_one(jobs, found, findings)
        if replica is not None:
            watch_over(replica, jobs, findings)
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without-operator", action="store_true", help="only the API server and our own types")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the operator is ended too
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, control_plane(Path(folder) / "plane", CONTROLLERS) as plane:
        plane.apply_crd()
        wanted = not options.without_operator
        findings = fuzz(plane, Path(folder), options.count, options.seed, with_operator=wanted)
    for failure in findings.failures:
        sys.stdout.write(f"{failure}\n")
    result = {**findings.counts, "failures": len(findings.failures), "seed": options.seed}
    sys.stdout.write(json.dumps({**result, "seconds": round(time.monotonic() - began, 1)}) + "\n")
    return 1 if findings.failures else 0


if __name__ == "__main__":
    sys.exit(main())
