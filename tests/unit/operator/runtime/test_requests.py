"""Requests as values, and answers that are not a success."""

import json

import pytest

from rlvr_operator.cluster.requests import Lines, Request, Scope, message_of, wait_before
from rlvr_operator.cluster.resources import JOBS, PODS, Resource
from rlvr_operator.errors import ApiError, Conflict, Expired, Missing, Refused, Unavailable, error_of


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (PODS, "/api/v1/namespaces/ns/pods/x"),
        (JOBS, "/apis/rlvr.dev/v1alpha1/namespaces/ns/rlvrjobs/x"),
        (
            Resource("networking.k8s.io/v1", "NetworkPolicy"),
            "/apis/networking.k8s.io/v1/namespaces/ns/networkpolicies/x",
        ),
        (Resource("networking.k8s.io/v1", "Ingress"), "/apis/networking.k8s.io/v1/namespaces/ns/ingresses/x"),
    ],
)
def test_paths_follow_from_version_and_kind(resource: Resource, path: str) -> None:
    assert resource.path("ns", "x") == path
    assert resource.path("ns", "x", "status") == f"{path}/status"


def test_all_namespaces_have_no_namespace_in_the_path() -> None:
    assert Scope(resource=PODS).path == "/api/v1/pods"


def test_empty_questions_are_left_out() -> None:
    request = Request(
        verb="GET", resource=PODS, path="/p", query={"limit": "5", "continue": "", "labelSelector": "a=b"}
    )

    assert request.target == "/p?limit=5&labelSelector=a%3Db"


def test_the_servers_own_words_are_kept_and_a_proxys_page_is_cut() -> None:
    request = Request(verb="POST", resource=PODS, path="/p")

    assert message_of(json.dumps({"message": "exceeded quota"}).encode(), request) == "exceeded quota"
    assert message_of(b"<html>" + b"x" * 1000, request) == "POST /p: <html>" + "x" * 194


@pytest.mark.parametrize(
    ("code", "kind"),
    [(404, Missing), (409, Conflict), (410, Expired), (403, Refused), (422, Refused), (500, Refused)],
)
def test_an_answer_becomes_the_error_that_is_decided_about(code: int, kind: type[ApiError]) -> None:
    error = error_of(code, "words")

    assert type(error) is kind
    assert error.code == code


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_not_now_is_no_answer(code: int) -> None:
    assert isinstance(error_of(code, "words"), Unavailable)


def test_the_wait_is_what_the_server_asks_for_or_doubles_and_has_an_end() -> None:
    for attempt, retry_after, expected in [
        (1, "", 0.5),
        (3, "", 2.0),
        (1, "4", 4.0),
        (1, "3600", 10.0),
        (20, "", 10.0),
    ]:
        assert wait_before(attempt, retry_after) == pytest.approx(expected, rel=0.21)


def test_lines_are_whole_wherever_the_pieces_end() -> None:
    text = b'{"a": 1}\n\n{"b": 2}\n{"c": 3}\n'
    for size in range(1, len(text)):
        lines = Lines()
        pieces = [text[at : at + size] for at in range(0, len(text), size)]

        assert [line for piece in pieces for line in lines.take(piece)] == [b'{"a": 1}', b'{"b": 2}', b'{"c": 3}']
