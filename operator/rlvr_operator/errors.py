"""Every error of the operator that somebody decides about.

OperatorError
├── InvalidSettings      the environment of the process is wrong; it ends
├── LeadershipLost       this process may not write any more
├── Unavailable          no answer, or "not now" (NOT_NOW); trying again later may help
└── ApiError             the API server's answer; trying the same again at once does not help
├── Missing          404
├── Conflict         409: something else changed the object or has its name
├── Expired          410: a resource version that the server has forgotten
└── Refused          400, 403, 422 and the like: quota, admission, rights
"""

from __future__ import annotations

from typing import Final


class OperatorError(Exception):
    """Base of the tree above."""


class InvalidSettings(OperatorError, ValueError):
    """A variable of the environment that cannot be used; the message names it."""


class LeadershipLost(OperatorError):
    """Another process may be the leader by now."""


class Unavailable(OperatorError, ConnectionError):
    """The API server (or a coordinator) did not answer as it should; the caller decides whether to wait."""


class ApiError(OperatorError):
    """What the API server answered, in its own words."""

    def __init__(self, message: str, *, code: int) -> None:
        super().__init__(message)
        self.code = code


class Missing(ApiError):
    """There is no such object, or no such kind."""


class Conflict(ApiError):
    """The object is not the one, or not in the state, that the request was about."""


class Expired(ApiError):
    """The resource version is too old to watch from; list again."""


class Refused(ApiError):
    """The server understood and said no."""


NOT_NOW: Final = frozenset({429, 502, 503, 504})
"""500 is not among them: it is what a broken admission webhook looks like, and people should be told."""


def error_of(code: int, message: str) -> ApiError | Unavailable:
    """The error for an answer that is not a success."""
    if code in NOT_NOW:
        return Unavailable(f"{code}: {message}")
    kinds: dict[int, type[ApiError]] = {404: Missing, 409: Conflict, 410: Expired}
    return kinds.get(code, Refused)(message, code=code)
