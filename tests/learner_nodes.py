"""Learner pods as the operator makes them, started on this machine: its command, its environment, folders of their own.

What a pod finds at a fixed path or name (the job, its work folder, the first pod's address) is elsewhere here; nothing
else differs.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from learner_processes import Learner
from learning import a_place, leave_batches
from rlvr_api import RLVRJob
from rlvr_trainer.surroundings import Surroundings
from role_processes import free_port
from workload_builders import a_container, a_pod, a_seen_job, environment_of

ELSEWHERE: Final = {
    "RLVR_JOB",
    "RLVR_DIR",
    "RLVR_TOKEN_FILE",
    "RLVR_PORT",
    "RLVR_LAST_WORDS",
    "HOME",
    "MASTER_ADDR",
    "MASTER_PORT",
}
"""What is a pod's own, but would be shared by two pods on one machine."""


@dataclass(frozen=True)
class Node:
    """A learner pod that runs here."""

    place: Surroundings
    process: Learner


def told_by_the_operator(job: RLVRJob, index: int, *, attempt: int) -> Mapping[str, str]:
    pod = a_pod(replace(a_seen_job(), spec=job.spec), "learner", index, attempt=attempt)
    assert a_container(pod, "learner")["command"][1:] == ["-m", "rlvr_trainer", "learner"]
    return environment_of(pod, "learner")


@contextmanager
def pods(
    folder: Path, job: RLVRJob, *, batches: Iterable[int], attempt: int = 0, others: RLVRJob | None = None
) -> Iterator[list[Node]]:
    """The learner pods of an attempt, with empty work folders but for the batches; killed when the block ends.

    `others` is what all but the first read for the job.
    """
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    nodes: list[Node] = []
    try:
        for index in range(job.spec.learner.nodes):
            read = job if others is None or index == 0 else others
            place = a_place(folder / f"a{attempt}-learner-{index}", read, attempt=attempt)
            leave_batches(place, batches if index == 0 else ())
            told = told_by_the_operator(job, index, attempt=attempt)
            here = {name: value for name, value in told.items() if name not in ELSEWHERE}
            nodes.append(Node(place, Learner(place, **here, **meeting)))
        yield nodes
    finally:
        for node in nodes:
            node.process.kill()
            node.process.wait()
            sys.stderr.write(node.process.stderr_text())


def ends_of(nodes: Iterable[Node], *, seconds: float) -> dict[int, tuple[int, float]]:
    """Exit code and time of each node that ends within so many seconds, in the order in which they end."""
    started = time.monotonic()
    left, ends = dict(enumerate(nodes)), {}
    while left and time.monotonic() < started + seconds:
        for index, node in list(left.items()):
            if (code := node.process.poll()) is not None:
                ends[index] = (code, time.monotonic() - started)
                del left[index]
        time.sleep(0.02)
    return ends
