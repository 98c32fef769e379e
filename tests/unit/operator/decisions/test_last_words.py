"""What coordinator and learner say at their end replaces what was heard of them before."""

from typing import Any

import pytest

from operator_builders import BASE, NOW, a_cluster, a_failed_pod, a_job, a_pod, a_status, an_exit, without
from rlvr_api import CheckpointProgress, Progress
from rlvr_operator.last_words import last_words
from rlvr_operator.observed import Exit, PodSeen, ProgressSeen
from rlvr_operator.reconcile import reconcile
from workload_builders import KIT

SAVED = CheckpointProgress(step=60, uri="s3://runs/sums/step-60", saved_at=NOW - 5)
OLDER = CheckpointProgress(step=50, uri="s3://runs/sums/step-50", saved_at=NOW - 90)
AT_THE_END = Progress(attempt=0, step=60, total_steps=60, eval_accuracy=0.9, checkpoint=OLDER, updated_at=NOW - 2)


def said(what: Progress | CheckpointProgress) -> str:
    return what.model_dump_json(by_alias=True, exclude_none=True)


def ended(container: str, message: str, *, code: int = 0) -> Exit:
    return an_exit(code, container=container, message=message)


COORDINATOR = ended("coordinator", said(AT_THE_END))
LEARNER = ended("learner", said(SAVED))


def a_learner(*exits: Exit, **fields: Any) -> PodSeen:
    return a_pod("learner", **{"phase": "Succeeded", "is_ready": False, "exits": exits, **fields})


def words(*exits: Exit, **fields: Any) -> ProgressSeen | None:
    return last_words(a_job(status=a_status()), [*without(BASE, "learner"), a_learner(*exits, **fields)])


def test_the_coordinators_last_evaluation_and_the_learners_last_checkpoint_are_both_told() -> None:
    found = words(LEARNER, COORDINATOR)

    assert found is not None
    assert (found.progress.step, found.progress.eval_accuracy, found.heard_at) == (60, 0.9, NOW - 2)
    assert found.progress.checkpoint == SAVED


def test_a_learner_that_says_nothing_leaves_the_checkpoint_that_the_coordinator_knew() -> None:
    found = words(ended("learner", ""), COORDINATOR)

    assert found is not None and found.progress.checkpoint == OLDER


NOTHING: dict[str, tuple[Exit, ...]] = {
    "nobody has ended": (),
    "the coordinator runs on": (LEARNER,),
    "the coordinator failed": (LEARNER, ended("coordinator", said(AT_THE_END), code=1)),
    "the coordinator said nothing": (LEARNER, ended("coordinator", "")),
    "it cannot be read": (LEARNER, ended("coordinator", said(AT_THE_END)[:100])),
    "it is no progress": (LEARNER, ended("coordinator", '{"steps": "many"}')),
    "it speaks of another attempt": (
        LEARNER,
        ended("coordinator", said(AT_THE_END.model_copy(update={"attempt": 1}))),
    ),
}


@pytest.mark.parametrize("case", NOTHING)
def test_there_are_no_last_words_when(case: str) -> None:
    assert words(*NOTHING[case]) is None


def test_only_the_first_learner_pod_of_the_present_attempt_speaks() -> None:
    assert words(LEARNER, COORDINATOR, index=1) is None
    assert words(LEARNER, COORDINATOR, attempt=1) is None
    assert last_words(a_job(status=a_status()), BASE) is None


def test_a_failed_learners_words_are_no_checkpoint() -> None:
    found = words(ended("learner", said(SAVED), code=1), COORDINATOR)

    assert found is not None and found.progress.checkpoint == OLDER


def test_a_complete_job_shows_the_numbers_of_its_end() -> None:
    job = a_job(status=a_status())
    learner = a_failed_pod("learner", code=0)
    told = last_words(job, [a_learner(LEARNER, COORDINATOR)])
    status = reconcile(a_cluster(job, learner, *without(BASE, "learner"), progress=told), KIT).status

    assert status is not None and status.progress is not None and status.checkpoint is not None
    assert (status.phase, status.progress.step, status.progress.eval_accuracy) == ("Succeeded", 60, 0.9)
    assert (status.checkpoint.step, status.checkpoint.uri) == (60, "s3://runs/sums/step-60")
