"""What a coordinator says of its job, on a real API server: progress, a failing store, hangs, and last words."""

import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kubernetes_server import ControlPlane
from live_jobs import LiveJob
from operator_process import operated_plane
from rlvr_api import contract

HELD = {"metadata": {"annotations": {"test.rlvr.dev/hold": "true"}}}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with operated_plane(tmp_path_factory.mktemp("coordinators"), PROGRESS_MIN=0.2, PROGRESS_MAX=0.4) as made:
        yield made


@dataclass
class Coordinator:
    """Answers `/progress` at an address of its own on the loopback interface; asks for a token as the real one does."""

    address: str
    progress: dict[str, Any] = field(default_factory=dict)

    def says(self, *, step: int, saved: int | None = None, **checkpoint: Any) -> None:
        found = {} if saved is None else {"step": saved, "savedAt": time.time()}
        self.progress = {"attempt": 0, "step": step, "totalSteps": 60, "checkpoint": {**found, **checkpoint}}


@contextmanager
def a_coordinator() -> Iterator[Coordinator]:
    told = Coordinator(f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(2, 254)}")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_known = self.headers.get("Authorization", "").startswith("Bearer ") and self.path == "/progress"
            body = json.dumps(told.progress | {"updatedAt": time.time()}).encode()
            self.send_response(200 if is_known and told.progress else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer((told.address, contract.PORT_COORDINATOR), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield told
        server.shutdown()


def listened_to(job: LiveJob, coordinator: Coordinator, pod: str = "sums-learner-0-a0") -> None:
    """The pod has the coordinator's address."""
    job.write(pod, podIP=coordinator.address, podIPs=[{"ip": coordinator.address}])


def test_progress_is_shown_and_a_failing_store_is_told_in_its_words_and_ends_nothing(plane: ControlPlane) -> None:
    job = LiveJob(plane).reaches("Running")
    with a_coordinator() as coordinator:
        listened_to(job, coordinator)
        coordinator.says(step=12)
        job.waits(lambda: job.status().get("progress", {}).get("step") == 12, "the step is shown")
        coordinator.says(step=13, lastError="403 AccessDenied: bucket runs", isWaiting=True)

        job.waits(lambda: job.condition("CheckpointHealthy").get("status") == "False", "the store fails")
        assert "403 AccessDenied: bucket runs" in job.condition("CheckpointHealthy")["message"]
        coordinator.says(step=14, saved=10)
        job.waits(lambda: job.condition("CheckpointHealthy").get("status") == "True", "the store is well again")
    assert (job.status()["phase"], job.status()["attempt"]) == ("Running", 0)


def test_a_job_that_makes_no_step_for_too_long_is_hung_and_one_that_waits_for_its_store_is_not(
    plane: ControlPlane,
) -> None:
    job = LiveJob(plane, limits={"hangTimeoutSeconds": 4}).reaches("Running")
    with a_coordinator() as coordinator:
        listened_to(job, coordinator)
        coordinator.says(step=7, isWaiting=True, lastError="503 SlowDown")
        job.waits(lambda: job.condition("CheckpointHealthy").get("status") == "False", "the store fails")
        time.sleep(6.0)
        assert job.status()["attempt"] == 0
        coordinator.says(step=7, saved=5)

        job.waits(lambda: "sums-learner-0-a1" in job.pods(), "the next attempt is there")
    assert job.status()["currentAttempt"]["cause"].startswith("Hung: no step has finished for 4 s")
    assert job.status()["restarts"] == 1


def test_a_later_attempt_that_does_not_get_ready_is_tried_again(plane: ControlPlane) -> None:
    job = LiveJob(plane, learner={"template": HELD}, limits={"startupDeadlineSeconds": 10})
    job.waits(lambda: "sums-learner-0-a0" in job.pods(), "there is a learner")
    job.hold("sums-learner-0-a0", is_held=False)
    job.reaches("Running")
    with a_coordinator() as coordinator:
        listened_to(job, coordinator)
        coordinator.says(step=3)
        job.waits(lambda: job.status().get("progress", {}).get("step") == 3, "it has trained")
    job.end("sums-learner-0-a0", 75)

    job.waits(lambda: job.status().get("attempt") == 2, "the second attempt is given up")
    assert job.status()["currentAttempt"]["cause"].startswith("SlowStart")
    assert "sums-learner-0-a1" in job.status()["currentAttempt"]["cause"]


def test_a_newer_checkpoint_is_progress_for_the_attempts_that_count(plane: ControlPlane) -> None:
    job = LiveJob(plane, learner={"restart": {"noProgressAttempts": 1}}).reaches("Running")
    with a_coordinator() as coordinator:
        listened_to(job, coordinator)
        coordinator.says(step=12, saved=10)
        job.waits(lambda: job.status().get("checkpoint", {}).get("step") == 10, "the checkpoint is shown")
    job.end("sums-learner-0-a0", 1)
    job.waits(lambda: "sums-learner-0-a1" in job.pods(), "the next attempt is there")

    job.reaches("Running").end("sums-learner-0-a1", 1)
    job.reaches("Failed")
    assert job.condition("Failed")["reason"] == "NoProgress"


def test_a_complete_job_shows_what_coordinator_and_learner_said_last(plane: ControlPlane) -> None:
    job = LiveJob(plane).reaches("Running")
    known = {"attempt": 0, "step": 60, "totalSteps": 60, "updatedAt": time.time()}
    words = {
        "coordinator": known | {"evalAccuracy": 0.875, "checkpoint": {"step": 50, "uri": "file:///runs/50"}},
        "learner": {"step": 60, "uri": "file:///runs/60", "savedAt": time.time()},
    }
    job.end("sums-learner-0-a0", 0, messages={name: json.dumps(said) for name, said in words.items()})

    job.reaches("Succeeded")
    assert (job.status()["progress"]["step"], job.status()["progress"]["evalAccuracy"]) == (60, 0.875)
    assert (job.status()["checkpoint"]["step"], job.status()["checkpoint"]["uri"]) == (60, "file:///runs/60")
