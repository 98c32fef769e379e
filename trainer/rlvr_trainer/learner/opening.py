"""From a job to a learner that stands where the newest checkpoint left off."""

from __future__ import annotations

import importlib
import logging
import shutil
from functools import partial
from pathlib import Path
from typing import Final

import torch

from rlvr_api import RLVRJobSpec
from rlvr_api.recipe import resolve
from rlvr_trainer.algorithms.recipe import Recipe, build
from rlvr_trainer.credentials import credentials_of
from rlvr_trainer.errors import InvalidInput, TrainerError
from rlvr_trainer.learner.backends.base import Backend
from rlvr_trainer.learner.backends.local import open_backend, open_scorer
from rlvr_trainer.learner.broadcasting import nccl
from rlvr_trainer.learner.broadcasting.plan import patience_within
from rlvr_trainer.learner.broadcasting.sender import Broadcaster, Nobody, Sender
from rlvr_trainer.learner.exchange import Exchange
from rlvr_trainer.learner.identity import accept, accept_own, job_digest
from rlvr_trainer.learner.keeper import Keeper
from rlvr_trainer.learner.loop import Learner, publish
from rlvr_trainer.learner.microbatches import Dealing
from rlvr_trainer.learner.publish import Publisher, Unheard
from rlvr_trainer.learner.ranks import ALONE, Ranks
from rlvr_trainer.learner.state import Boundary, load_boundary
from rlvr_trainer.learner.step import Method
from rlvr_trainer.metrics import Board
from rlvr_trainer.models.folder import model_folder
from rlvr_trainer.peers import peers_of
from rlvr_trainer.storage.checkpoints import Checkpoint, Checkpoints, Manifest, open_checkpoints
from rlvr_trainer.storage.patience import persist
from rlvr_trainer.storage.store import check_writable
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.wire import from_json, to_json

logger = logging.getLogger(__name__)
_CPU_PASS_TOKENS: Final = 2048
"""Passes this small stay in a CPU's cache: 1.5 times the speed of 16,384 for the arithmetic model."""


def open_method(spec: RLVRJobSpec, ranks: Ranks = ALONE) -> Method:
    """The base model and the recipe; InvalidInput for what cannot be trained."""
    recipe = build(resolve(spec.algorithm), max_tokens=spec.rollout.sampling.max_tokens)
    folder = model_folder(spec.model)
    if spec.learner.backend.deepspeed is None:
        backend: Backend = open_backend(folder, spec)
    else:
        backend = _open_zero(folder, spec, ranks)
    reference = backend.base() or open_scorer(folder, spec) if recipe.needs_reference else None
    return Method(backend=backend, recipe=recipe, reference=reference, ranks=ranks)


def _open_zero(folder: Path, spec: RLVRJobSpec, ranks: Ranks) -> Backend:
    """Imported late: DeepSpeed is not installed everywhere."""
    try:
        zero = importlib.import_module("rlvr_trainer.learner.backends.zero")
    except ModuleNotFoundError as error:
        raise InvalidInput(
            f"learner.backend.deepspeed needs the package {error.name}: install rlvr-operator[deepspeed], or set "
            "learner.backend to {local: {}}."
        ) from error
    backend: Backend = zero.open_zero(folder, spec, ranks)
    return backend


def open_store_of(spec: RLVRJobSpec, surroundings: Surroundings, *, rank: int = 0) -> Checkpoints:
    """Where the job's checkpoints are, which rank 0 knows to be writable; waits for a store that is away."""
    uri = spec.checkpoint.uri or str(surroundings.folder / "checkpoints")
    if rank == 0:
        persist(partial(check_writable, uri), on_error=_complain)
    return open_checkpoints(uri, keep=spec.checkpoint.keep)


def resume(
    spec: RLVRJobSpec, checkpoints: Checkpoints, method: Method, surroundings: Surroundings
) -> tuple[Checkpoint | None, Boundary]:
    """Bring the backend to the newest whole checkpoint of this job; the base model without one.

    Rank 0 looks for it; the first rank of every other node fetches the same one.
    """
    folder, ranks = surroundings.folder / "resume", method.ranks
    found = None
    if ranks.rank == 0:
        restore = partial(checkpoints.restore, folder, accept=partial(_accept, spec=spec, run=surroundings.run))
        found = persist(restore, on_error=_complain)
    told = ranks.tell(b"" if found is None else to_json(found.manifest))
    if not told:
        return None, Boundary()
    checkpoint = checkpoints.named(from_json(told, Manifest))
    if ranks.node_rank == 0 and ranks.rank != 0:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        checkpoints.fetch(checkpoint, folder)
    ranks.meet()
    boundary = load_boundary(folder, method.backend, step=checkpoint.step)
    ranks.meet()
    if ranks.node_rank == 0:
        shutil.rmtree(folder)
    logger.info("resumed after step %d from %s", checkpoint.step, checkpoint.uri)
    return checkpoint, boundary


def open_learner(
    spec: RLVRJobSpec, surroundings: Surroundings, method: Method, *, exchange: Exchange, keeper: Keeper, board: Board
) -> Learner:
    """Everything a step needs."""
    training = spec.training
    return Learner(
        method=method,
        dealing=Dealing(
            minibatches=training.minibatches,
            epochs=training.epochs,
            seed=training.seed,
            packs=training.packing,
            token_budget=pass_tokens(training.token_budget, method.recipe, device=method.backend.device),
        ),
        optimizer=training.optimizer,
        num_steps=training.steps,
        evaluate_every=spec.data.eval.every if spec.data.eval is not None else 0,
        exchange=exchange,
        publisher=_publisher(spec, surroundings, rank=method.ranks.rank),
        sender=open_sender(spec, surroundings, method),
        model=spec.model,
        keeper=keeper,
        board=board,
    )


def _publisher(spec: RLVRJobSpec, surroundings: Surroundings, *, rank: int) -> Publisher:
    return (Publisher if rank == 0 else Unheard)(
        model_folder(spec.model),
        folder=surroundings.folder / "policies",
        announcement=surroundings.attempt_folder / "policy.json",
        keep=2 + spec.training.max_staleness,
    )


def open_sender(spec: RLVRJobSpec, surroundings: Surroundings, method: Method) -> Sender:
    """Who brings policies to rollouts beside their folders; InvalidInput where the job asks for what cannot be here."""
    if spec.rollout.weight_transfer == "directory" or method.ranks.rank != 0:
        return Nobody()
    nccl.check(method.backend.device)
    peers = peers_of(surroundings)
    return Broadcaster(
        nccl.Nccl(method.backend.device),
        rollouts=lambda: peers().rollouts,
        token=credentials_of(surroundings).token,
        patience=patience_within(spec.limits.hang_timeout_seconds),
        name=f"a{surroundings.attempt:03d}",
    )


def announce(learner: Learner, boundary: Boundary) -> None:
    """Tell the coordinator where the attempt begins, and publish the policy it begins with."""
    learner.exchange.announce(boundary)
    publish(learner, boundary.step)


def pass_tokens(token_budget: int, recipe: Recipe, *, device: torch.device) -> int:
    """Positions of a pass: fewer than the budget allows on a CPU, unless the recipe ranks tokens within a pass."""
    if device.type != "cpu" or recipe.choice_scope == "microbatch":
        return token_budget
    return min(token_budget, _CPU_PASS_TOKENS)


def _accept(manifest: Manifest, *, spec: RLVRJobSpec, run: str) -> bool:
    if spec.checkpoint.resume == "never":
        accept_own(manifest, run=run)
    return accept(manifest, digest=job_digest(spec))


def _complain(error: TrainerError) -> None:
    logger.warning("%s; trying again", error)
