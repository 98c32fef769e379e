"""The verbs, against an API server of dictionaries."""

import pytest

from fake_cluster import FakeApi, a_seen_job
from rlvr_trainer.cluster.jobs import Jobs
from rlvr_trainer.cluster.pods import container_of, role_pod
from rlvr_trainer.cluster.refusals import ClusterError, NotFound
from rlvr_trainer.cluster.requests import Object, Request

MANIFEST = {"metadata": {"name": "test"}, "spec": {"training": {"steps": 3}}}


def jobs_at(api: FakeApi) -> Jobs:
    return Jobs(api, namespace="default")


def a_pod(role: str, index: int, attempt: int, *containers: str) -> Object:
    labels = {"rlvr.dev/role": role, "rlvr.dev/index": str(index), "rlvr.dev/attempt": str(attempt)}
    name = f"test-{role}-{index}-a{attempt}"
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [{"name": c} for c in containers]}}


PODS = [
    a_pod("learner", 0, 9, "learner", "coordinator"),
    a_pod("learner", 0, 10, "learner", "coordinator"),
    a_pod("rollout", 1, 1, "engine", "agent"),
]


def test_submitting_creates_then_changes_then_leaves_alone() -> None:
    jobs = jobs_at(FakeApi())

    other = {**MANIFEST, "spec": {"training": {"steps": 4}}}
    outcomes = [jobs.submit(manifest)[1] for manifest in (MANIFEST, MANIFEST, other)]

    assert outcomes == ["created", "unchanged", "configured"]


def test_submitting_is_a_strict_server_side_apply() -> None:
    api = FakeApi()
    jobs_at(api).submit(MANIFEST)

    request = api.asked[-1]
    assert (request.method, request.content) == ("PATCH", "application/apply-patch+yaml")
    assert request.path == "/apis/rlvr.dev/v1alpha1/namespaces/default/rlvrjobs/test"
    assert request.query == {"fieldManager": "rlvr", "force": "true", "fieldValidation": "Strict"}


def test_suspending_twice_changes_once() -> None:
    api = FakeApi(jobs=[a_seen_job(phase="Running")])

    assert [jobs_at(api).suspend("test", wanted=True) for _ in range(2)] == [True, False]
    assert [request.verb for request in api.asked].count("patch") == 1


def test_a_deleted_job_is_not_the_one_that_took_its_name() -> None:
    api = FakeApi(jobs=[a_seen_job(phase="Running")])
    jobs = jobs_at(api)
    uid = jobs.delete("test")["metadata"]["uid"]
    api.jobs.append({**a_seen_job(), "metadata": {**a_seen_job()["metadata"], "uid": "another"}})

    assert not jobs.is_there("test", uid=uid)


@pytest.mark.parametrize(
    ("present", "words"),
    [
        ([("test", "default")], "did you mean test?"),
        ([("a", "default"), ("b", "default")], "there is a, b."),
        ([("tset", "team")], "it is in namespace team, add -n team."),
        ([], "there is no job at all."),
    ],
)
def test_a_job_that_is_not_there_leads_to_one_that_is(present: list[tuple[str, str]], words: str) -> None:
    api = FakeApi(jobs=[a_seen_job(name, namespace=namespace) for name, namespace in present])

    with pytest.raises(NotFound, match=f"there is no job 'tset' in namespace default: {words}".replace("?", r"\?")):
        jobs_at(api).get("tset")


@pytest.mark.parametrize(
    ("resource", "name", "namespace", "path"),
    [
        ("pods/log", "p", "team", "/api/v1/namespaces/team/pods/p/log"),
        ("events", "", "team", "/api/v1/namespaces/team/events"),
        ("rlvrjobs", "", None, "/apis/rlvr.dev/v1alpha1/rlvrjobs"),
    ],
)
def test_a_resource_has_its_path(resource: str, name: str, namespace: str | None, path: str) -> None:
    request = Request(verb="get", resource=resource, namespace=namespace, name=name)  # type: ignore[arg-type]

    assert request.path == path


def test_the_log_is_that_of_the_newest_incarnation() -> None:
    assert role_pod(PODS, job="test", role="learner", index=0)["metadata"]["name"] == "test-learner-0-a10"


@pytest.mark.parametrize(
    ("role", "index", "wanted", "container"),
    [
        ("learner", 0, None, "learner"),
        ("coordinator", 0, None, "coordinator"),
        ("rollout", 1, None, "agent"),
        ("rollout", 1, "engine", "engine"),
    ],
)
def test_a_role_has_its_container(role: str, index: int, wanted: str | None, container: str) -> None:
    assert container_of(role_pod(PODS, job="test", role=role, index=index), role=role, wanted=wanted) == container


def test_a_pod_that_is_not_there_leads_to_those_that_are() -> None:
    with pytest.raises(
        ClusterError, match="no pod rollout 0 now: there is learner 0, rollout 1; see `rlvr status test`"
    ):
        role_pod(PODS, job="test", role="rollout", index=0)
    with pytest.raises(ClusterError, match="no pod learner 0 now: it has no pods"):
        role_pod([], job="test", role="learner", index=0)


def test_a_container_that_is_not_there_leads_to_those_that_are() -> None:
    with pytest.raises(ClusterError, match="no container 'vllm': there is engine, agent"):
        container_of(PODS[2], role="rollout", wanted="vllm")
