"""What an API server's refusal means to a user: who may not do what, what is not there, what to run.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from rlvr_api.contract import GROUP, KIND, PLURAL, VERSION
from rlvr_trainer.cluster.requests import Object, Request
from rlvr_trainer.errors import InvalidInput, TrainerError, Unavailable

_INSTALL: Final = f"kubectl apply --server-side -f crds/{PLURAL}.{GROUP}.yaml"
_AWAY: Final = frozenset({408, 429, 500, 502, 503, 504})
_ECHO: Final = "some validation rules were not checked"


class ClusterError(TrainerError):
    """The cluster answered, and the answer is no."""


class NotFound(ClusterError):
    """What was asked for is not there."""


class NotPermitted(ClusterError):
    """The user's role does not cover the request."""


class NoLogs(ClusterError):
    """The container has nothing to show, now or any more."""


class RefusedJob(InvalidInput):
    """The API server refuses a manifest; one problem for each field."""

    def __init__(self, name: str, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = (f"  {field}: {message}." for field, message in self.problems.items())
        super().__init__("\n".join([f"{name} is refused by the API server: {count}", *lines]))


def refusal(request: Request, code: int, status: Object) -> TrainerError:
    """The error for an answer with HTTP `code` whose body, a metav1.Status, is `status`."""
    said = str(status.get("message") or status.get("reason") or f"HTTP {code}").rstrip(".")
    if code in _TRANSLATIONS:
        return _TRANSLATIONS[code](request, status, said)
    if request.resource == "pods/log":
        return NoLogs(f"no log of pod {request.name}: {said}.")
    if code in _AWAY:
        return Unavailable(f"the API server cannot answer now ({code}): {said}.")
    if "strict decoding error" in said:
        return RefusedJob(request.name, _unknown_fields(said))
    asked = f"{request.verb} {request.resource} {request.name}".strip()
    return ClusterError(f"the API server refuses to {asked} ({code}): {said}.")


def _unknown_user(_request: Request, _status: Object, _said: str) -> TrainerError:
    return NotPermitted(
        "the API server does not know who you are (401): log in to the cluster again, or choose another context with "
        "--context."
    )


def _forbidden(request: Request, _status: Object, said: str) -> TrainerError:
    """A quota or an admission policy also answers 403, and then its own words are what matters."""
    if " cannot " not in said:
        return ClusterError(f"not admitted: {said}.")
    user = said.partition('User "')[2].partition('"')[0] or "you"
    place = f"in namespace {request.namespace}" if request.namespace else "in all namespaces"
    return NotPermitted(
        f"{user} may not {request.verb} {request.group_resource} {place}: ask for a Role with that verb and resource, "
        f"or choose another namespace (-n) or context (--context)."
    )


def _missing(request: Request, status: Object, said: str) -> TrainerError:
    details = status.get("details") or {}
    if request.resource == PLURAL and not details.get("name"):
        return ClusterError(
            f"this cluster does not know {KIND}s ({GROUP}/{VERSION}): install the operator's CRD with `{_INSTALL}`, or "
            "choose another context with --context."
        )
    if details.get("kind") == "namespaces":
        return NotFound(
            f"there is no namespace {details['name']}: make it with `kubectl create namespace {details['name']}`, or "
            "choose another with -n."
        )
    return NotFound(f"{said}.")


def _invalid(request: Request, status: Object, said: str) -> TrainerError:
    problems: dict[str, str] = {}
    for cause in (status.get("details") or {}).get("causes") or ():
        field, message = str(cause.get("field", "")), str(cause.get("message", said)).removeprefix("Invalid value: ")
        if _ECHO not in message:
            problems[field] = f"{problems[field]}; {message}" if field in problems else message
    return RefusedJob(request.name, problems or {request.name: said})


def _unknown_fields(said: str) -> dict[str, str]:
    """From `... strict decoding error: unknown field "spec.a", unknown field "spec.b"`."""
    named = said.rpartition("strict decoding error: ")[2].split(", ")
    return {item.partition('"')[2].rstrip('"') or item: "is not a field of this cluster's CRD" for item in named}


_TRANSLATIONS: Final[Mapping[int, Callable[[Request, Object, str], TrainerError]]] = {
    401: _unknown_user,
    403: _forbidden,
    404: _missing,
    422: _invalid,
}
