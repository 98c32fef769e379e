"""The learner process: where it begins, and how it ends.

returns          all steps are done and the last one is in a checkpoint
SystemExit(75)   somebody asked it to stop; the newest step is in a checkpoint (contract.EXIT_INTERRUPTED)
TrainerError     anything else; what was being uploaded is finished first, within reason
"""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import Final

import torch

from rlvr_api import RLVRJob, contract
from rlvr_trainer.errors import TrainerError
from rlvr_trainer.learner.exchange import Exchange
from rlvr_trainer.learner.identity import job_digest
from rlvr_trainer.learner.keeper import Keeper, following
from rlvr_trainer.learner.loop import Learner, train
from rlvr_trainer.learner.opening import announce, open_learner, open_method, open_store_of, resume
from rlvr_trainer.learner.state import Boundary
from rlvr_trainer.learner.stopping import Stop, StopRequested, stop_on_signals
from rlvr_trainer.learner.telemetry import telemetry
from rlvr_trainer.metrics import Board
from rlvr_trainer.storage.checkpoints import Origin
from rlvr_trainer.storage.uploader import Uploader
from rlvr_trainer.surroundings import Surroundings

logger = logging.getLogger(__name__)
_SAVE_SECONDS: Final = 45.0
"""From being asked to stop to giving up on the checkpoint; whoever asks kills after 60."""


def main(surroundings: Surroundings) -> None:
    """Train the job of `surroundings` from its newest checkpoint to its end."""
    spec = RLVRJob.model_validate_json(surroundings.job.read_bytes()).spec
    prepare_torch(spec.training.seed)
    board, stop = Board(), Stop()
    exchange = Exchange(surroundings.attempt_folder, stop=stop)
    with telemetry(board, surroundings):
        method, checkpoints = open_method(spec), open_store_of(spec, surroundings)
        resumed, boundary = resume(spec, checkpoints, method.backend, surroundings)
        uploader = Uploader(
            checkpoints,
            staging=surroundings.folder / "staging",
            origin=Origin(
                attempt=surroundings.attempt,
                job_digest=job_digest(spec),
                world_size=1,
                run=surroundings.run,
            ),
            board=board,
            resumed=resumed,
        )
        stop_on_signals(stop, also=partial(uploader.expire, _SAVE_SECONDS))
        keeper = Keeper(uploader, method.backend, every=spec.checkpoint.every, resumed=boundary)
        learner = open_learner(spec, surroundings, method, exchange=exchange, keeper=keeper, board=board)
        with following(keeper, exchange):
            announce(learner, boundary)
            is_done = run(learner, boundary)
    if not is_done:
        raise SystemExit(contract.EXIT_INTERRUPTED)


def run(learner: Learner, boundary: Boundary) -> bool:
    """Train until all steps are done (true) or somebody asks to stop (false); either way the newest step is saved."""
    is_done = True
    try:
        train(learner, boundary)
    except StopRequested:
        is_done = False
    except TrainerError:
        learner.keeper.close(timeout=_SAVE_SECONDS)
        raise
    logger.info("%s; saving the newest step", "all steps are done" if is_done else "asked to stop")
    learner.keeper.finish()
    return is_done


def prepare_torch(seed: int) -> None:
    """One thread unless OMP_NUM_THREADS says otherwise, and the same result every time where that costs little."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(mode=True)
        # A debugging aid that costs 7 %.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.manual_seed(seed)
