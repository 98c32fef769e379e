"""Coordinators are asked; what they do not say is unknown."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from object_store import free_ports
from rlvr_api import Progress
from rlvr_operator.cluster.cache import Key
from rlvr_operator.errors import Conflict, LeadershipLost, OperatorError, Unavailable
from rlvr_operator.observed import PodSeen, ProgressSeen
from rlvr_operator.parsing import parse_job, parse_pod
from rlvr_operator.progress import Coordinators, ServiceAccountTokens, token_from_file
from runtime_fakes import Clock, FakeClient, a_raw_job, a_raw_pod

SUMS = Key("research", "sums")
JOB = parse_job(a_raw_job())
SAID = Progress(attempt=0, step=7, total_steps=60, updated_at=1.0)


def a_learner(**changes: Any) -> PodSeen:
    raw = a_raw_pod(phase="Running", podIP="127.0.0.1")
    raw["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    pod = parse_pod(raw)
    assert pod is not None
    return replace(pod, **changes)


@asynccontextmanager
async def a_coordinator(port: int, answer: Callable[[web.Request], web.Response]) -> AsyncIterator[None]:
    async def progress(request: web.Request) -> web.Response:
        return answer(request)

    app = web.Application()
    app.router.add_get("/progress", progress)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def after_asking(answer: Callable[[web.Request], web.Response]) -> tuple[ProgressSeen | None, list[Key], str]:
    """What is known after one question, who was rung for, and how the question went."""
    (port,), rung, outcomes = free_ports(1), list[Key](), list[str]()
    asked = asyncio.Event()

    async def token(uid: str) -> str:
        return f"token of {uid}"

    def count(outcome: str) -> None:
        outcomes.append(outcome)
        asked.set()

    coordinators = Coordinators(token, rung.append, between=(0.01, 0.02), port=port, count=count)
    async with a_coordinator(port, answer):
        coordinators.follow(SUMS, JOB, [a_learner()])
        await asyncio.wait_for(asked.wait(), 5.0)
        await asyncio.sleep(0)
        heard = coordinators.heard(SUMS)
        await coordinators.close()
    assert coordinators.heard(SUMS) is None, "what was heard in one term is not news in the next"
    return heard, rung, outcomes[0]


async def test_the_answer_is_kept_and_the_job_is_rung_for() -> None:
    tokens: list[str] = []

    def answer(request: web.Request) -> web.Response:
        tokens.append(request.headers["Authorization"])
        return web.json_response(text=SAID.model_dump_json(by_alias=True, exclude_none=True))

    heard, rung, outcome = await after_asking(answer)
    assert heard is not None
    assert (heard.progress.step, heard.heard_at > 0) == (7, True)
    assert (rung[0], outcome, tokens[0]) == (SUMS, "heard", "Bearer token of job-uid")


async def test_no_answer_a_refusal_and_nonsense_are_unknown_and_never_ring() -> None:
    def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=503)

    def babble(_request: web.Request) -> web.Response:
        return web.Response(text='{"step": "many"}')

    def flood(_request: web.Request) -> web.Response:
        return web.Response(body=b"0" * (2 << 20))

    for answer in (refuse, babble, flood):
        assert await after_asking(answer) == (None, [], "unknown")


@pytest.mark.parametrize("error", [LeadershipLost("late"), Unavailable("503"), Conflict("gone", code=409)], ids=repr)
async def test_a_question_for_which_there_is_no_token_now_is_asked_again(error: OperatorError) -> None:
    """LeadershipLost: a Lease that was almost too late to renew, and was renewed."""
    (port,), outcomes, refusals = free_ports(1), list[str](), iter([error])
    answered = asyncio.Event()

    async def token(_uid: str) -> str:
        for refusal in refusals:
            raise refusal
        return "a token"

    def count(outcome: str) -> None:
        outcomes.append(outcome)
        if outcome == "heard":
            answered.set()

    def answer(_request: web.Request) -> web.Response:
        return web.json_response(text=SAID.model_dump_json(by_alias=True, exclude_none=True))

    coordinators = Coordinators(token, lambda _: None, between=(0.01, 0.02), port=port, count=count)
    async with a_coordinator(port, answer):
        coordinators.follow(SUMS, JOB, [a_learner()])
        await asyncio.wait_for(answered.wait(), 5.0)
        await coordinators.close()

    assert outcomes[:2] == ["unknown", "heard"]


async def no_token(_uid: str) -> str:
    return ""


async def test_only_the_first_learner_of_the_present_attempt_is_asked() -> None:
    coordinators = Coordinators(no_token, lambda _key: None)
    strangers = [
        a_learner(index=1),
        a_learner(attempt=3),
        a_learner(role="rollout"),
        a_learner(phase="Pending"),
        a_learner(address=""),
        a_learner(deleted_at=5.0),
    ]
    coordinators.follow(SUMS, JOB, strangers)
    assert coordinators.listening_since(SUMS) is None

    coordinators.follow(SUMS, JOB, [*strangers, a_learner()])
    assert coordinators.listening_since(SUMS) is not None
    await coordinators.close()


async def test_looking_again_does_not_start_the_question_anew() -> None:
    coordinators = Coordinators(no_token, lambda _key: None)
    coordinators.follow(SUMS, JOB, [a_learner()])
    since = coordinators.listening_since(SUMS)
    coordinators.follow(SUMS, JOB, [a_learner()])
    assert coordinators.listening_since(SUMS) == since

    coordinators.follow(SUMS, JOB, [])
    assert coordinators.listening_since(SUMS) is None
    await coordinators.close()


async def test_a_token_is_asked_for_once_per_job_and_again_at_80_percent_of_its_life() -> None:
    server, clock = FakeClient(), Clock()
    tokens = ServiceAccountTokens(server, namespace="rlvr-system", account="rlvr-operator", clock=clock)  # type: ignore[arg-type]
    first, again, other = await tokens("a"), await tokens("a"), await tokens("b")
    clock.turn(0.8 * 3600 + 1)

    assert (first, again, other) == ("token 1 for a", "token 1 for a", "token 2 for b")
    assert await tokens("a") == "token 3 for a"
    assert server.asked[0] == "POST ServiceAccount/rlvr-operator/token"


async def test_a_token_from_a_file_is_read_each_time(tmp_path: Path) -> None:
    file = tmp_path / "token"
    source = token_from_file(file)
    file.write_text("one\n")
    assert await source("any") == "one"
    file.write_text("two\n")
    assert await source("any") == "two"
