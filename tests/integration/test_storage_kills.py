"""SIGKILL at every operation of a save, and at random moments: the old checkpoint or the new one is whole."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlvr_trainer.storage.checkpoints import Checkpoints
from rlvr_trainer.storage.store import open_store
from storing import anything, content_of, save

# Delete READY, two files, manifest, READY, latest, list, and READY and folder of the two that retire.
NUM_OPERATIONS = 11
SAVE_AND_DIE = """
import sys
from pathlib import Path
from rlvr_trainer.storage.store import open_store
from storing import dying, save

save(dying(open_store(sys.argv[1]), at=int(sys.argv[2])), 30, Path(sys.argv[3]), keep=1)
"""
SAVE_FOR_EVER = """
import itertools, sys
from pathlib import Path
from rlvr_trainer.storage.checkpoints import open_checkpoints
from storing import anything, save

checkpoints = open_checkpoints(sys.argv[1], keep=1)
print("ready", flush=True)
for step in itertools.count(checkpoints.newest(anything).step + 1):
    save(checkpoints.store, step, Path(sys.argv[2]), keep=1)
"""


def a_child(script: str, *arguments: object) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)


def newest_whole_step(uri: Path, out: Path) -> int:
    """The step that would be resumed, after comparing every byte."""
    checkpoint = Checkpoints(open_store(str(uri)), keep=1).restore(out, accept=anything)
    assert checkpoint is not None
    for name in checkpoint.manifest.files:
        assert (out / name).read_bytes() == content_of(checkpoint.step, name)
    return checkpoint.step


@pytest.mark.parametrize("at", range(1, NUM_OPERATIONS + 1))
def test_killed_ahead_of_any_operation_the_old_or_the_new_checkpoint_is_whole(at: int, tmp_path: Path) -> None:
    uri = tmp_path / "kept"
    for step in (10, 20):
        save(open_store(str(uri)), step, tmp_path / "files", keep=2)

    with a_child(SAVE_AND_DIE, uri, at, tmp_path / "files") as child:
        child.communicate()

    assert child.returncode == -signal.SIGKILL
    assert newest_whole_step(uri, tmp_path / "out") == (20 if at <= 5 else 30)
    save(open_store(str(uri)), 40, tmp_path / "files", keep=1)
    assert sorted(path.name for path in uri.iterdir()) == ["latest", "step-000040"]


def test_no_operation_was_left_out(tmp_path: Path) -> None:
    uri = tmp_path / "kept"
    for step in (10, 20):
        save(open_store(str(uri)), step, tmp_path / "files", keep=2)

    with a_child(SAVE_AND_DIE, uri, NUM_OPERATIONS + 1, tmp_path / "files") as child:
        child.communicate()

    assert child.returncode == 0
    assert newest_whole_step(uri, tmp_path / "out") == 30


def test_killed_at_random_moments_it_never_goes_back(tmp_path: Path) -> None:
    uri, chance, steps = tmp_path / "kept", random.Random(0), [1]
    save(open_store(str(uri)), 1, tmp_path / "files")
    for _ in range(5):
        with a_child(SAVE_FOR_EVER, uri, tmp_path / "files") as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(chance.uniform(0.02, 0.2))
            child.kill()
        steps.append(newest_whole_step(uri, tmp_path / "out"))

    assert steps == sorted(steps)
    assert steps[-1] > 1
