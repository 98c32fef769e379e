"""The learner process: where it begins, and how it ends.

returns          all steps are done and the last one is in a checkpoint
SystemExit(75)   somebody asked it to stop; the newest step is in a checkpoint (contract.EXIT_INTERRUPTED)
TrainerError     anything else; what was being uploaded is finished first, within reason
"""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from functools import partial

import torch

from rlvr_api import RLVRJob, RLVRJobSpec, contract
from rlvr_trainer.errors import TrainerError
from rlvr_trainer.learner.exchange import Exchange
from rlvr_trainer.learner.identity import job_digest
from rlvr_trainer.learner.joining import joined
from rlvr_trainer.learner.keeper import Follower, Keeper, Uploads, following
from rlvr_trainer.learner.loop import Learner, train
from rlvr_trainer.learner.opening import announce, open_learner, open_method, open_store_of, resume
from rlvr_trainer.learner.ranks import Ranks
from rlvr_trainer.learner.state import Boundary
from rlvr_trainer.learner.stopping import Stop, StopRequested, stop_on_signals
from rlvr_trainer.learner.telemetry import telemetry
from rlvr_trainer.metrics import Board
from rlvr_trainer.storage.checkpoints import Checkpoint, Checkpoints, Origin
from rlvr_trainer.storage.parts import Node
from rlvr_trainer.storage.uploader import Uploader
from rlvr_trainer.surroundings import Surroundings

logger = logging.getLogger(__name__)


def main(surroundings: Surroundings) -> None:
    """Train the job of `surroundings` from its newest checkpoint to its end."""
    spec = RLVRJob.model_validate_json(surroundings.job.read_bytes()).spec
    prepare_torch(spec.training.seed)
    board, stop = Board("rlvr_learner_", "rlvr_checkpoint_"), Stop()
    with joined(spec, os.environ) as ranks, telemetry(board, surroundings) if ranks.node_rank == 0 else nullcontext():
        exchange = Exchange(surroundings.attempt_folder, stop=stop, ranks=ranks)
        method, checkpoints = open_method(spec, ranks), open_store_of(spec, surroundings, rank=ranks.rank)
        resumed, boundary = resume(spec, checkpoints, method, surroundings)
        uploads = open_uploads(spec, surroundings, checkpoints, ranks=ranks, board=board, resumed=resumed)
        stop_on_signals(stop, also=partial(uploads.expire, float(surroundings.save_seconds)))
        keeper = Keeper(uploads, method.backend, every=spec.checkpoint.every, resumed=boundary, ranks=ranks)
        learner = open_learner(spec, surroundings, method, exchange=exchange, keeper=keeper, board=board)
        with following(keeper, exchange):
            announce(learner, boundary)
            is_done = run(learner, boundary, save_seconds=surroundings.save_seconds)
    if not is_done:
        raise SystemExit(contract.EXIT_INTERRUPTED)
    if surroundings.last_words is not None and ranks.rank == 0:
        surroundings.last_words.write_bytes(exchange.told_checkpoint())


def open_uploads(
    spec: RLVRJobSpec,
    surroundings: Surroundings,
    checkpoints: Checkpoints,
    *,
    ranks: Ranks,
    board: Board,
    resumed: Checkpoint | None,
) -> Uploads:
    """Who stores what this rank stages."""
    staging = surroundings.folder / "staging"
    if ranks.node_rank != 0:
        return Follower(staging)
    origin = Origin(
        attempt=surroundings.attempt, job_digest=job_digest(spec), world_size=ranks.size, run=surroundings.run
    )
    node = Node(index=ranks.rank // ranks.node_size, count=ranks.size // ranks.node_size)
    return Uploader(checkpoints, staging=staging, origin=origin, board=board, resumed=resumed, node=node)


def run(learner: Learner, boundary: Boundary, *, save_seconds: float) -> bool:
    """Train until all steps are done (true) or somebody asks to stop (false); either way the newest step is saved."""
    is_done = True
    try:
        train(learner, boundary)
    except StopRequested:
        is_done = False
    except (TrainerError, RuntimeError) as error:  # torch's error when a rank is lost is a RuntimeError
        learner.method.ranks.miss(error)
        learner.keeper.close(timeout=save_seconds)
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
