"""Jobs of one namespace on a real cluster: made from the example, watched through kubectl, proven from the store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from e2e.running import Account, prove_exactly_once
from kubernetes_server import Cluster, as_list
from object_store import ObjectStoreServer, environment
from rlvr_api import contract
from rlvr_trainer.storage.checkpoints import open_checkpoints

EXAMPLE: Final = Path(__file__).parents[3] / "examples" / "arithmetic-cpu.yaml"
PROMPTS: Final = 8
ENDLESS: Final = 20_000
"""Steps of a job that is there until it is told to end soon."""
CONTAINERS: Final = {"learner": ("learner", "coordinator"), "rollout": ("agent", "engine"), "reward": ("reward",)}


def small(container: str) -> dict[str, Any]:
    """A template of a container: two jobs, one of them on its way out, fit a node of two cores."""
    return {"name": container, "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}}}


@dataclass(frozen=True)
class Team:
    """A namespace and its bucket."""

    cluster: Cluster
    namespace: str
    store: ObjectStoreServer
    bucket: str

    def uri(self, name: str) -> str:
        """Where the checkpoints of a job are."""
        return f"s3://{self.bucket}/{name}"

    def manifest(self, name: str, *, steps: int, **sections: Any) -> dict[str, Any]:
        """The example under GRPO, whose steps all take as long, with small batches; members of `sections` win."""
        job: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
        job["metadata"] = {"name": name, "namespace": self.namespace}
        job["spec"]["data"]["eval"]["procedural"]["size"] = 16
        ours: dict[str, dict[str, Any]] = {
            "algorithm": {"preset": "grpo"},
            "training": {"steps": steps, "promptsPerStep": PROMPTS, "groupSize": 4},
            "checkpoint": {"uri": self.uri(name), "secretRef": {"name": "store"}, "every": 3},
            "learner": {"restart": {"maxRestarts": 1000, "noProgressAttempts": 1000}},
        }
        for role, containers in CONTAINERS.items():
            ours.setdefault(role, {})["template"] = {"spec": {"containers": [small(name) for name in containers]}}
        for section in (ours, sections):
            for key, members in section.items():
                job["spec"][key] = {**job["spec"].get(key, {}), **members}
        return job

    def make_secret(self, name: str, values: Mapping[str, str]) -> None:
        metadata = {"name": name, "namespace": self.namespace}
        self.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": dict(values)})

    def start_pod(self, name: str, image: str) -> None:
        """A pod that is no job's, as restricted as jobs are; returns when it runs."""
        context = {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        container = {"name": "main", "image": image, "command": ["sleep", "3600"], "securityContext": context}
        metadata = {"name": name, "namespace": self.namespace}
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=110s")

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("-n", self.namespace, *arguments)

    def apply(self, manifest: dict[str, Any]) -> None:
        self.cluster.kubectl("apply", "-f", "-", stdin=as_list([manifest]))

    def edit(self, name: str, **spec: Any) -> None:
        self.kubectl("patch", "rlvrjob", name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def status(self, name: str) -> dict[str, Any]:
        """Empty too while the API server cannot be asked."""
        done = self.cluster.try_kubectl("-n", self.namespace, "get", "rlvrjob", name, "-o", "json")
        found: dict[str, Any] = json.loads(done.stdout).get("status", {}) if done.returncode == 0 else {}
        return found

    def is_there(self, name: str) -> bool:
        return name in self.kubectl("get", "rlvrjobs", "-o", "name").replace("/", " ").split()

    def step(self, name: str) -> int:
        """Finished steps as the status says; 0 before it says anything."""
        return int(self.status(name).get("progress", {}).get("step", 0))

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        return next((it for it in self.status(name).get("conditions", []) if it["type"] == kind), {})

    def reason(self, name: str, kind: str) -> str:
        return str(self.condition(name, kind).get("reason", ""))

    def summary(self, name: str, role: str) -> str:
        """ready/desired pods of a role."""
        return str(self.status(name).get("roles", {}).get(role, {}).get("summary", ""))

    def is_true(self, name: str, kind: str) -> bool:
        return bool(self.condition(name, kind).get("status") == "True")

    def pods(self, name: str, role: str) -> list[dict[str, Any]]:
        """Pods of a role that are not on their way out."""
        labels = f"{contract.LABEL_JOB}={name},{contract.LABEL_ROLE}={role}"
        found: list[dict[str, Any]] = self.cluster.get("-n", self.namespace, "pods", "-l", labels)["items"]
        return [it for it in found if "deletionTimestamp" not in it["metadata"]]

    def last_words(self, name: str, container: str) -> dict[str, Any]:
        """The termination message of a container of the newest first learner pod."""
        statuses = self.pods(name, "learner")[-1]["status"]["containerStatuses"]
        ended = next(it["state"]["terminated"] for it in statuses if it["name"] == container)
        said: dict[str, Any] = json.loads(ended["message"])
        return said

    def wait(self, name: str, holds: Callable[[], bool], what: str, *, seconds: float = 300) -> None:
        ends = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < ends, f"not within {seconds:.0f} s: {what}\n{self.describe(name)}"
            assert not self.is_true(name, "Failed"), self.describe(name)
            time.sleep(1.0)

    def wait_for(self, name: str, kind: str, *, seconds: float = 600) -> None:
        self.wait(name, lambda: self.is_true(name, kind), f"{name} is {kind}", seconds=seconds)

    def wait_for_complete(self, name: str, *, seconds: float = 900) -> None:
        self.wait_for(name, "Complete", seconds=seconds)

    def wait_for_step(self, name: str, step: int, *, seconds: float = 600) -> None:
        self.wait(name, lambda: self.step(name) >= step, f"{name} has finished step {step}", seconds=seconds)

    def end_soon(self, name: str, folder: Path) -> int:
        """Suspend the job, let it end a few steps after what it saved, and resume it; the number of its last step."""
        self.edit(name, suspend=True)
        self.wait(name, lambda: self.reason(name, "Suspended") == "Suspended", "all pods have gone")
        last = self.fetch(name, folder / "suspended") + 5
        self.edit(name, training={"steps": last})
        self.edit(name, suspend=False)
        return last

    def describe(self, name: str) -> str:
        """What a person would look at."""
        commands = (("get", "pods", "-o", "wide"), ("describe", "rlvrjob", name), ("get", "events"))
        said = [self.cluster.try_kubectl("-n", self.namespace, *command).stdout[-6000:] for command in commands]
        return "\n".join(said)

    def saved(self, name: str) -> int:
        """The step of the newest complete checkpoint; 0 without one."""
        with environment(self.store.environment):
            newest = open_checkpoints(self.uri(name), keep=3).newest(lambda _: True)
        return newest.step if newest else 0

    def fetch(self, name: str, folder: Path) -> int:
        """Download the newest complete checkpoint to where the checks of `running` look; its step."""
        newest = folder / "checkpoints" / "step-fetched"
        with environment(self.store.environment):
            found = open_checkpoints(self.uri(name), keep=3).restore(newest, accept=lambda _: True)
        assert found is not None, f"{self.uri(name)} has no checkpoint"
        (newest / "READY").touch()
        return found.step

    def prove_exactly_once(self, name: str, folder: Path, *, steps: int, prompts: int = PROMPTS) -> Account:
        """The checkpoint of the last step says that every prompt was trained or dropped once."""
        self.fetch(name, folder)
        return prove_exactly_once(folder, steps=steps, prompts_per_step=prompts)
