"""`python -m rlvr_trainer ROLE`: one role process; everything else comes from the environment (surroundings.py).

Exit codes: 0 done, 64 the job, its data or its model cannot work (another attempt would not help), 65 a checkpoint or
batch is damaged, 75 asked to stop and saved, 1 anything else.
Under `rlvr run` the process ends with its supervisor, whatever kills that one.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Final

from rlvr_api import contract
from rlvr_trainer.errors import CorruptArtifact, InvalidInput, TrainerError
from rlvr_trainer.logs import start_logging
from rlvr_trainer.surroundings import Surroundings, read_surroundings

Main = Callable[[Surroundings], None]
ROLES: Final = {
    "coordinator": "rlvr_trainer.coordinator.app",
    "learner": "rlvr_trainer.learner.launching",
    "rollout": "rlvr_trainer.rollout.agent",
    "engine": "rlvr_trainer.engines.local.server",
    "vllm": "rlvr_trainer.engines.vllm",
    "reward": "rlvr_trainer.reward.service",
}
"""Module of each role; it has `main(surroundings)`.  Imported late: only learner and engine need torch."""
_PR_SET_PDEATHSIG: Final = 1


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m rlvr_trainer", description=__doc__.splitlines()[0])
    parser.add_argument("role", choices=sorted(ROLES))
    role: str = parser.parse_args().role
    if "RLVR_SUPERVISOR" in os.environ:
        end_with_supervisor(int(os.environ["RLVR_SUPERVISOR"]))
    try:
        surroundings = read_surroundings(os.environ)
        start_logging(role, attempt=surroundings.attempt)
        run: Main = importlib.import_module(ROLES[role]).main
        run(surroundings)
    except TrainerError as error:
        sys.stderr.write(f"error: {error}\n")
        return exit_code_of(error)
    return 0


def exit_code_of(error: TrainerError) -> int:
    """What the process that ends with `error` tells whoever started it."""
    if isinstance(error, InvalidInput):
        return contract.EXIT_INVALID
    return contract.EXIT_CORRUPT_CHECKPOINT if isinstance(error, CorruptArtifact) else 1


def end_with_supervisor(supervisor: int) -> None:
    """Have this process group killed when process `supervisor` ends; at once if it already has.

    The kernel's parent-death signal covers Linux; end of file on standard input, a pipe from the supervisor, covers
    the rest of the group and every other system.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os.kill(os.getpid(), signal.SIGKILL)
    threading.Thread(target=_await_end_of_input, name="lifeline", daemon=True).start()


def _await_end_of_input() -> None:
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
