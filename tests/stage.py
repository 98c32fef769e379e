"""`rlvr run` with actors in place of the roles, here or as a process of its own that can be interrupted and killed.

python stage.py FOLDER ACTS        ACTS: {"process name": what the actor is told, ...}
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from builders import a_job
from rlvr_api import RLVRJob
from rlvr_trainer.one_machine.folder import RunFolder, located
from rlvr_trainer.one_machine.plan import ProcessSpec
from rlvr_trainer.one_machine.run import Cast, cast_roles, train

ACTORS = str(Path(__file__).with_name("actors.py"))
STEPS = 6
Acts = Mapping[str, Mapping[str, Any]]


def staged_job(folder: RunFolder, *, no_progress_attempts: int = 2) -> RLVRJob:
    restart = {"maxRestarts": 3, "noProgressAttempts": no_progress_attempts}
    training = {"steps": STEPS, "promptsPerStep": 4, "groupSize": 4}
    return located(a_job(training=training, learner={"restart": restart}), folder)


def casting(acts: Acts) -> Cast:
    """Every role played by an actor."""

    def cast(job: RLVRJob, folder: RunFolder) -> tuple[ProcessSpec, ...]:
        return tuple(
            replace(
                spec,
                argv=(sys.executable, ACTORS, spec.role),
                environment={**spec.environment, "ACT": json.dumps(acts.get(spec.name, {}))},
            )
            for spec in cast_roles(job, folder)
        )

    return cast


def perform(directory: Path, acts: Acts) -> int:
    """One run to its end; returns the exit code."""
    folder = RunFolder(directory)
    with folder.locked():
        return train(staged_job(folder), folder, plain=True, cast=casting(acts))


def start(directory: Path, acts: Acts, *, output: int | None = None) -> subprocess.Popen[bytes]:
    """The same as a process, output to DIRECTORY.log or to `output` (as in subprocess)."""
    with directory.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, __file__, directory, json.dumps(acts)],
            stdout=log if output is None else output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )


def process_ids(directory: Path) -> dict[str, int]:
    """Name -> id of the process that was started last under it."""
    path = RunFolder(directory).processes
    return {name: entry["pid"] for name, entry in json.loads(path.read_bytes()).items()} if path.exists() else {}


def living_groups(directory: Path) -> list[str]:
    """Names of processes of the run whose group still has a member."""
    return [name for name, leader in process_ids(directory).items() if _has_members(leader)]


def _has_members(group: int) -> bool:
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended while we looked
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


if __name__ == "__main__":
    sys.exit(perform(Path(sys.argv[1]), json.loads(sys.argv[2])))
