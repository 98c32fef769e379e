"""What a user reads about a job."""

from typing import Any

import pytest

from fake_cluster import NOW, a_seen_job
from rlvr_trainer.cluster.texts import age, columns
from rlvr_trainer.cluster.views import phase_of, status_text, summary, table_text, why

RUNNING: dict[str, Any] = {
    "phase": "Running",
    "attempt": 2,
    "restarts": 1,
    "roles": {"rollout": {"desired": 4, "ready": 3, "failed": 0, "replaced": 1}},
    "progress": {"step": 12, "totalSteps": 60, "reward": 0.625, "accuracy": 0.5, "updatedAt": "2027-01-15T07:59:52Z"},
    "checkpoint": {"step": 10, "uri": "s3://b/step-10", "time": "2027-01-15T07:57:00Z"},
}
CONDITION = {
    "type": "Scheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "pod test-learner-0-a1:\n0/3 nodes are available",
    "lastTransitionTime": "2027-01-15T07:58:00Z",
}


def an_event(reason: str, *, at: str, **more: Any) -> dict[str, Any]:
    metadata = {"creationTimestamp": at}
    return {"type": "Normal", "reason": reason, "message": f"about {reason}", "metadata": metadata, **more}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (0, "0s"), (119.9, "119s"), (120, "2m"), (10_799, "179m"), (10_800, "3h"), (172_800, "2d")],
)
def test_an_age_has_one_unit(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_columns_are_as_wide_as_their_widest_cell_and_never_end_in_spaces() -> None:
    assert columns([("A", "LONG"), ("wide", None)]) == "A      LONG\nwide"


def test_a_job_at_work_is_one_line_of_facts() -> None:
    assert summary(a_seen_job(**RUNNING)) == (
        "test  Running  step 12/60  reward 0.625  rollouts 3/4  restarts 1  checkpoint 10"
    )


def test_a_fact_that_is_not_known_is_left_out() -> None:
    assert summary(a_seen_job(phase="Pending", progress={"step": 0, "totalSteps": 3})) == "test  Pending  step 0/3"


def test_a_job_that_waits_says_why() -> None:
    assert summary(a_seen_job(phase="Queued", message="quota of queue team is used up")).endswith(
        "Queued  quota of queue team is used up"
    )


def test_the_first_condition_that_says_no_stands_in_for_a_message() -> None:
    assert why(a_seen_job(phase="Pending", conditions=[CONDITION])) == "pod test-learner-0-a1: 0/3 nodes are available"


def test_a_job_without_a_status_has_no_operator() -> None:
    assert "no operator has looked at this job yet" in why(a_seen_job())
    assert summary(a_seen_job()) == "test  New"


def test_a_job_of_another_controller_says_whose_it_is() -> None:
    job = a_seen_job()
    job["spec"]["managedBy"] = "kueue.x-k8s.io/multikueue"

    assert why(job) == (
        "spec.managedBy is 'kueue.x-k8s.io/multikueue': that controller acts on this job, not the RLVR operator."
    )


def test_an_edit_that_the_operator_has_not_seen_is_said() -> None:
    job = a_seen_job(phase="Running", message="all is well.")
    job["metadata"]["generation"] = 3

    assert why(job) == ("the operator has not seen the newest edit yet (generation 3, it saw 1). all is well.")


def test_a_job_on_its_way_out_is_deleting_whatever_its_phase() -> None:
    job = a_seen_job(phase="Running")
    job["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"

    job["metadata"]["generation"] = 2

    assert phase_of(job) == "Deleting"
    assert why(job) == ""


def test_the_status_answers_every_question_at_once() -> None:
    job = a_seen_job(**RUNNING, conditions=[CONDITION], message="waiting for a node")
    job["spec"]["scheduling"] = {"queueName": "team"}
    events = [
        an_event("Second", at="2027-01-15T07:59:00Z", count=3),
        an_event("First", at="2027-01-15T07:00:00Z", lastTimestamp="2027-01-15T07:30:00Z"),
        an_event("Third", at="2027-01-15T07:00:00Z", series={"count": 9, "lastObservedTime": "2027-01-15T07:59:50Z"}),
    ]

    assert (
        status_text(job, events, NOW)
        == """\
Job          default/test, submitted 10m ago
Phase        Running
Why          waiting for a node
Step         12 of 60, reward 0.625, accuracy 0.500 (heard 8s ago)
Checkpoint   step 10, 3m ago: s3://b/step-10
Attempt      2; 1 of 3 restarts used
Queue        team

ROLE      READY   DESIRED   FAILED   REPLACED
learner   0       0         0        0
rollout   3       4         0        1
reward    0       0         0        0

CONDITION   STATUS   SINCE   REASON          MESSAGE
Scheduled   False    2m      Unschedulable   pod test-learner-0-a1: 0/3 nodes are available

EVENT    AGE   COUNT   REASON   MESSAGE
Normal   30m   1       First    about First
Normal   60s   3       Second   about Second
Normal   10s   9       Third    about Third"""
    )


def test_a_store_in_trouble_is_said_beside_the_checkpoint_that_is_safe() -> None:
    checkpoint = {"step": 10, "uri": "s3://b/step-10", "lastError": "403 SlowDown"}

    text = status_text(a_seen_job(phase="Running", checkpoint=checkpoint), [], NOW)

    assert "step 10: s3://b/step-10; the store said: 403 SlowDown" in text


def test_events_that_may_not_be_listed_are_not_nothing() -> None:
    assert "your role may not list them" in status_text(a_seen_job(phase="Running"), None, NOW)


@pytest.mark.parametrize(
    ("wide", "everywhere", "text"),
    [
        (False, False, "NAME   PHASE\ntest   Running"),
        (True, False, "NAME   PHASE     QUEUE\ntest   Running"),
        (False, True, "NAMESPACE   NAME   PHASE\nteam        test   Running"),
    ],
)
def test_a_list_has_the_columns_that_the_api_server_names(*, wide: bool, everywhere: bool, text: str) -> None:
    table = {
        "columnDefinitions": [
            {"name": name, "priority": priority} for name, priority in (("Name", 0), ("Phase", 0), ("Queue", 1))
        ],
        "rows": [{"cells": ["test", "Running", None], "object": {"metadata": {"namespace": "team"}}}],
    }

    assert table_text(table, wide=wide, everywhere=everywhere) == text
