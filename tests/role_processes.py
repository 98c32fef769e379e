"""Start single role processes as `rlvr run` does: a job file, an environment, a port."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN = "secret"


@dataclass(frozen=True)
class Role:
    """A role process that listens at `url`."""

    url: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(role: str, job: dict[str, Any], folder: Path, *, port: int = 0, **environment: str) -> Iterator[Role]:
    """`python -m rlvr_trainer ROLE`, killed when the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(job))
    (folder / "token").write_text(TOKEN)
    port = port or free_port()
    log = folder / f"{role}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "rlvr_trainer", role],
            stdin=subprocess.DEVNULL,
            stderr=output,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "RLVR_JOB": f"{folder}/job.json",
                "RLVR_DIR": str(folder),
                "RLVR_TOKEN_FILE": f"{folder}/token",
                "RLVR_PORT": str(port),
                **environment,
            },
        )
    try:
        yield Role(url=f"http://127.0.0.1:{port}", port=port, process=process, log=log)
    finally:
        process.kill()
        process.wait()


def await_answer(role: Role, *, path: str = "/health", seconds: float = 60) -> None:
    """Wait until the process answers `path` at all, with whatever status."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and role.process.poll() is None:
        try:
            urllib.request.urlopen(role.url + path, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"no answer from {role.url}{path}:\n{role.log.read_text()[-3000:]}")
