"""A view that lives on when the connection, or the API server, does not."""

from itertools import islice

import pytest

from fake_cluster import FakeApi, a_seen_job, changed
from rlvr_trainer.cluster.following import follow
from rlvr_trainer.cluster.jobs import Jobs
from rlvr_trainer.cluster.refusals import NotFound
from rlvr_trainer.errors import Unavailable

GONE = Unavailable("cannot reach the API server.")
STARTING, RUNNING, DONE = (a_seen_job(phase=phase) for phase in ("Starting", "Running", "Succeeded"))


def lines_of(
    api: FakeApi, name: str | None = "test", *, pauses: list[float] | None = None, most: int = 20
) -> list[str]:
    pause = [].append if pauses is None else pauses.append
    return list(islice(follow(Jobs(api, namespace="default"), name, pause=pause), most))


def test_a_line_for_each_change_until_the_job_is_finished() -> None:
    api = FakeApi(jobs=[STARTING], watches=[[changed(STARTING), changed(RUNNING), changed(RUNNING), changed(DONE)]])

    assert lines_of(api) == ["test  Starting", "test  Running", "test  Succeeded"]


def test_a_finished_job_is_one_line() -> None:
    assert lines_of(FakeApi(jobs=[DONE])) == ["test  Succeeded"]


def test_a_deleted_job_is_the_end_of_it() -> None:
    api = FakeApi(jobs=[RUNNING], watches=[[changed(RUNNING, "DELETED")]])

    assert lines_of(api) == ["test  Running", "test  deleted"]


def test_a_watch_that_ends_or_breaks_goes_on_without_a_word() -> None:
    api = FakeApi(jobs=[RUNNING], watches=[[], [GONE], [changed(DONE)]])

    assert lines_of(api) == ["test  Running", "test  Succeeded"]


def test_an_expired_watch_begins_again_from_a_list() -> None:
    expired = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
    api = FakeApi(jobs=[RUNNING], watches=[[expired], [changed(DONE)]])

    assert lines_of(api) == ["test  Running", "test  Succeeded"]


def test_bookmarks_are_not_changes() -> None:
    bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    api = FakeApi(jobs=[RUNNING], watches=[[bookmark, changed(DONE)]])

    assert lines_of(api) == ["test  Running", "test  Succeeded"]


def test_an_api_server_that_is_away_is_said_once_and_waited_for_ever_longer() -> None:
    api = FakeApi(jobs=[RUNNING], watches=[[changed(DONE)]], away=[GONE] * 7)
    pauses: list[float] = []

    assert lines_of(api, pauses=pauses) == [
        "cannot reach the API server. Trying again until it answers.",
        "The API server is back.",
        "test  Running",
        "test  Succeeded",
    ]
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10]


def test_a_job_deleted_while_nobody_looked_is_reported() -> None:
    api = FakeApi(jobs=[RUNNING], watches=[[GONE]])
    following = follow(Jobs(api, namespace="default"), "test", pause=lambda _: api.jobs.clear())

    assert list(following) == ["test  Running", "test  deleted"]


def test_all_jobs_are_followed_when_none_is_named() -> None:
    other = a_seen_job("other", phase="Queued")
    api = FakeApi(jobs=[RUNNING, other], watches=[[changed(DONE), changed(other, "DELETED")]])

    assert lines_of(api, None, most=4) == ["test  Running", "other  Queued", "test  Succeeded", "other  deleted"]


def test_a_job_that_is_not_there_is_not_waited_for() -> None:
    with pytest.raises(NotFound, match="did you mean test"):
        lines_of(FakeApi(jobs=[RUNNING]), "tset")
