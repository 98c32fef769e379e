"""Everything that can be known to fail before the first process starts, all of it at once.

Not covered: a custom verifier, whose code only its own worker process imports, and memory.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

from rlvr_api import RLVRJob
from rlvr_trainer.data.prompts import validate_data
from rlvr_trainer.engines.local.architecture import read_architecture
from rlvr_trainer.engines.vllm import check_vllm
from rlvr_trainer.errors import InvalidInput, TrainerError, Unavailable
from rlvr_trainer.models.folder import model_folder
from rlvr_trainer.storage.store import check_writable
from rlvr_trainer.verifiers.registry import verifier_for

Check = Callable[[RLVRJob], None]


def check_job(job: RLVRJob) -> None:
    """InvalidInput with everything about the job itself that cannot work, one problem a line."""
    _all_of(job, (check_learner, check_verifiers, check_model_and_data))


def check_elsewhere(job: RLVRJob) -> tuple[str, ...]:
    """InvalidInput with everything about a cluster's job that cannot work; else what only the cluster can tell.

    Its model need not lie on this machine (without it the data cannot be rendered), nor need this version bring every
    part that the cluster's images have.
    """
    open_questions = []
    for check in (check_learner, check_verifiers, check_model):
        try:
            check(job)
        except InvalidInput as question:
            open_questions.append(str(question))
    if not open_questions:
        check_data(job)
    return tuple(open_questions)


def check_run(job: RLVRJob) -> None:
    """`check_job`, and what only matters to a run on this machine; Unavailable if just the checkpoint store is away."""
    _all_of(job, (check_job, check_engine, check_nodes, check_suspended, check_checkpoints))


def check_engine(job: RLVRJob) -> None:
    if job.spec.rollout.weight_transfer == "nccl":
        raise InvalidInput(
            "spec.rollout.weightTransfer is nccl, which wants GPUs of their own for learner and rollouts, and "
            "`rlvr run` shares those of one machine: set it to directory; on a cluster each pod has its own."
        )
    if job.spec.rollout.engine == "vllm":
        check_vllm()


def check_suspended(job: RLVRJob) -> None:
    if job.spec.suspend:
        raise InvalidInput("spec.suspend is true, so there is nothing to run: set it to false.")


def check_learner(job: RLVRJob) -> None:
    if job.spec.learner.backend.deepspeed is not None and importlib.util.find_spec("deepspeed") is None:
        raise InvalidInput(
            "spec.learner.backend.deepspeed needs DeepSpeed, which is not installed here: install "
            "rlvr-operator[deepspeed], or set the backend to {local: {}}."
        )


def check_nodes(job: RLVRJob) -> None:
    if job.spec.learner.nodes > 1:
        raise InvalidInput(
            f"spec.learner.nodes is {job.spec.learner.nodes}, but `rlvr run` is one machine: set it to 1; "
            "gpusPerNode is the number of ranks."
        )


def check_verifiers(job: RLVRJob) -> None:
    for spec in job.spec.reward.verifiers:
        if spec.custom is None:
            verifier_for(spec)


def check_model_and_data(job: RLVRJob) -> None:
    check_model(job)
    check_data(job)


def check_model(job: RLVRJob) -> None:
    folder = model_folder(job.spec.model)
    if job.spec.rollout.engine == "local":
        read_architecture(folder)


def check_data(job: RLVRJob) -> None:
    validate_data(job, folder=model_folder(job.spec.model))


def check_checkpoints(job: RLVRJob) -> None:
    assert job.spec.checkpoint.uri is not None, "a run knows where its checkpoints go"
    check_writable(job.spec.checkpoint.uri)


def _all_of(job: RLVRJob, checks: tuple[Check, ...]) -> None:
    problems: list[TrainerError] = []
    for check in checks:
        try:
            check(job)
        except TrainerError as problem:
            problems.append(problem)
    if problems:
        is_invalid = any(isinstance(problem, InvalidInput) for problem in problems)
        raise (InvalidInput if is_invalid else Unavailable)("\n".join(map(str, problems)))
