"""What a refusal of the API server becomes: who, what, where, and the way out."""

from typing import Any

import pytest

from rlvr_trainer.cluster.refusals import ClusterError, NoLogs, NotFound, NotPermitted, RefusedJob, refusal
from rlvr_trainer.cluster.requests import Request, Resource, Verb
from rlvr_trainer.errors import InvalidInput, TrainerError, Unavailable

RBAC = 'rlvrjobs.rlvr.dev is forbidden: User "ann" cannot list resource "rlvrjobs" in API group "rlvr.dev"'


def a_request(verb: Verb = "list", resource: Resource = "rlvrjobs", **rest: Any) -> Request:
    return Request(**{"verb": verb, "resource": resource, "namespace": "team", "name": "", **rest})


@pytest.mark.parametrize(
    ("request_", "code", "status", "kind", "words"),
    [
        (a_request(), 401, {}, NotPermitted, "does not know who you are (401): log in to the cluster again"),
        (
            a_request(),
            403,
            {"message": RBAC},
            NotPermitted,
            "ann may not list rlvrjobs.rlvr.dev in namespace team: ask for a Role with that verb and resource",
        ),
        (a_request(namespace=None), 403, {"message": RBAC}, NotPermitted, "rlvrjobs.rlvr.dev in all namespaces"),
        (
            a_request("patch", name="job"),
            403,
            {"message": 'admission webhook "x" denied the request: too large'},
            ClusterError,
            'not admitted: admission webhook "x" denied the request: too large.',
        ),
        (
            a_request(),
            404,
            {"message": "the server could not find the requested resource"},
            ClusterError,
            "install the operator's CRD with `kubectl apply --server-side -f crds/rlvrjobs.rlvr.dev.yaml`",
        ),
        (
            a_request("patch", name="job"),
            404,
            {"message": 'namespaces "team" not found', "details": {"name": "team", "kind": "namespaces"}},
            NotFound,
            "there is no namespace team: make it with `kubectl create namespace team`",
        ),
        (a_request(), 503, {"message": "apiserver is shutting down"}, Unavailable, "cannot answer now (503)"),
        (a_request(), 429, {}, Unavailable, "cannot answer now (429): HTTP 429."),
        (
            a_request("get", "pods/log", name="job-learner-0-a1"),
            400,
            {"message": 'container "learner" in pod "job-learner-0-a1" is waiting to start: ContainerCreating'},
            NoLogs,
            'no log of pod job-learner-0-a1: container "learner" in pod "job-learner-0-a1" is waiting to start',
        ),
        (a_request("get", "pods/log", name="p"), 500, {"message": "dial tcp: refused"}, NoLogs, "dial tcp: refused."),
        (
            a_request("patch", name="job"),
            409,
            {"message": "Apply failed with 1 conflict"},
            ClusterError,
            "the API server refuses to patch rlvrjobs job (409): Apply failed with 1 conflict.",
        ),
    ],
)
def test_a_refusal_says_who_may_not_what_and_the_way_out(
    request_: Request, code: int, status: dict[str, Any], kind: type[TrainerError], words: str
) -> None:
    error = refusal(request_, code, status)

    assert type(error) is kind
    assert words in str(error)


def test_a_refused_job_is_told_field_by_field() -> None:
    causes = [
        {"field": "spec.rollout.replicas", "message": "Invalid value: replicas is above max: lower replicas"},
        {"field": "spec.training.steps", "message": "Invalid value: 0: should be greater than or equal to 1"},
        {"field": "spec.training.steps", "message": "Required value"},
        {"field": "<nil>", "message": "Invalid value: null: some validation rules were not checked because ..."},
    ]

    error = refusal(a_request("patch", name="job"), 422, {"details": {"causes": causes}})

    assert isinstance(error, RefusedJob)
    assert isinstance(error, InvalidInput)
    assert str(error).splitlines() == [
        "job is refused by the API server: 2 problems",
        "  spec.rollout.replicas: replicas is above max: lower replicas.",
        "  spec.training.steps: 0: should be greater than or equal to 1; Required value.",
    ]


def test_a_refusal_without_causes_is_told_in_the_servers_words() -> None:
    error = refusal(a_request("patch", name="job"), 422, {"message": "name is too long"})

    assert str(error).endswith("job: name is too long.")


def test_fields_that_this_clusters_crd_lacks_are_named() -> None:
    said = 'RLVRJob cannot be handled: strict decoding error: unknown field "spec.a", unknown field "spec.b"'

    error = refusal(a_request("patch", name="job"), 400, {"message": said})

    assert isinstance(error, RefusedJob)
    assert error.problems.keys() == {"spec.a", "spec.b"}
