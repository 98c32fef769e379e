"""A verifier that is a service: POST one item in the form of our own /score and read one verdict.

    {"items": [{"id": "0", "text", "finish": "stop", "task": {"answer", "source", "metadata"}}]}
    -> {"verdicts": [{"id": "0", "outcome", "score", "reason"}]}

503 and 429 are asked again after their Retry-After.  Anything else that is no verdict, or none in time, is an error of
the judge.  Redirects are not followed and no credentials are sent; an answer may have 1 MiB.
"""

from __future__ import annotations

import http.client
import time
from http import HTTPStatus
from typing import Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from rlvr_api.reward import HttpVerifier
from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.samples import Outcome, Task, Verdict
from rlvr_trainer.verifiers.custom import verdict_from
from rlvr_trainer.verifiers.verdicts import Verifier, shown
from rlvr_trainer.wire import from_json, to_json

_LONGEST_ANSWER: Final = 2**20
_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class _Answer(msgspec.Struct):
    outcome: Outcome
    score: float | None = None
    reason: str = ""


class _Answers(msgspec.Struct):
    verdicts: list[_Answer]


def make(spec: HttpVerifier, *, seconds: float) -> Verifier:
    """Ask `spec.url`, for at most `seconds` an item."""
    url = urlsplit(spec.url)

    def verify(task: Task, text: str) -> Verdict:
        item = {"id": "0", "text": text, "finish": "stop", "task": msgspec.to_builtins(task)}
        return read_verdict(_ask(url, to_json({"items": [item]}), ends=time.monotonic() + seconds))

    return verify


def read_verdict(data: bytes) -> Verdict:
    """The one verdict in a reply; TrainerError or TypeError when there is none."""
    answers = from_json(data, _Answers).verdicts
    if len(answers) != 1:
        raise TrainerError(f"the service gave {len(answers)} verdicts on one item")
    (found,) = answers
    return verdict_from(Verdict(outcome=found.outcome, score=found.score, reason=found.reason))


def retry_after(header: str | None) -> float:
    """Seconds to wait before asking a busy service again."""
    return min(float(header), 60.0) if header is not None and header.isdigit() else 0.5


def _ask(url: SplitResult, body: bytes, *, ends: float) -> bytes:
    """The body of the first reply that says something; Unavailable when there is none in time."""
    while True:
        status, wait, data = _post(url, body, seconds=ends - time.monotonic())
        if status == HTTPStatus.OK:
            return data
        if status not in _BUSY:
            raise TrainerError(f"{url.geturl()} answered {status}: {shown(data.decode(errors='replace'), most=200)}")
        if time.monotonic() + wait >= ends:
            raise Unavailable(f"{url.geturl()} is busy: it answered {status} until there was no time left")
        time.sleep(wait)


def _post(url: SplitResult, body: bytes, *, seconds: float) -> tuple[int, float, bytes]:
    """One request: status, seconds to wait when busy, body."""
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=max(seconds, 0.001))
    path = f"{url.path or '/'}{'?' if url.query else ''}{url.query}"
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, retry_after(reply.headers.get("Retry-After")), reply.read(_LONGEST_ANSWER)
    except (OSError, http.client.HTTPException) as problem:
        raise Unavailable(f"{url.geturl()} gave no answer: {type(problem).__name__}: {problem}") from problem
    finally:
        connection.close()
