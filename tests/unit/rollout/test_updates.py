"""From one policy to the next: how weights arrive, what is asked of them, and what happens to answers meanwhile."""

import asyncio
from typing import Any

import pytest

from engine_fakes import Caller, eventually, in_flight, truth
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.rollout.updates import Mistrust
from rlvr_trainer.storage.signatures import Signature

BY_PLUGIN = [
    "/pause?mode=keep&clear_cache=true",
    "/start_weight_update",
    "/update_weights",
    "/finish_weight_update",
    "/resume",
]
OPINION = (-1.0, -2.0, -3.0)
SIGNED = Signature(token_ids=(5, 6, 7, 8), logprobs=OPINION, tolerance=1e-4)


async def test_an_engine_with_our_plugin_gets_weights_through_it(caller: Caller) -> None:
    caller.door.engine.has_plugin = True
    label = caller.policies.publish(4)

    assert (await caller.send(label))[0] == 200

    assert caller.door.engine.told == BY_PLUGIN
    assert await caller.status() == ("ready", label)


@pytest.mark.parametrize("path", ["/start_weight_update", "/update_weights", "/finish_weight_update"])
async def test_a_transfer_that_fails_leaves_the_engine_dirty_and_going(caller: Caller, path: str) -> None:
    caller.door.engine.has_plugin = True
    caller.door.engine.failing[path] = 500

    assert (await caller.send(caller.policies.publish(4)))[0] == 400

    assert await caller.status() == ("dirty", None)
    assert caller.door.engine.told[-2:] == ["/abort_requests", "/resume"]


async def test_a_vllm_that_is_too_old_is_refused_and_given_up(caller: Caller) -> None:
    caller.door.engine.is_old = True

    status, body = await caller.send(caller.policies.publish(4))

    assert (status, "vLLM 0.18.1 is too old" in body["error"]) == (400, True)
    assert caller.door.engine.told == []
    with pytest.raises(InvalidInput, match="too old"):
        caller.door.agent.given_up.result()


async def test_an_engine_that_agrees_with_the_learner_serves(caller: Caller) -> None:
    caller.door.engine.opinion = (-1.0, -2.00005, -2.9999)
    label = caller.policies.publish(4, signature=SIGNED)

    assert (await caller.send(label))[0] == 200

    assert await caller.status() == ("ready", label)
    gap = figure(caller, "rlvr_rollout_probe_difference_nats")
    assert gap == pytest.approx(5e-5, rel=1e-3)
    assert not caller.door.agent.given_up.done()


@pytest.mark.parametrize("opinion", [(-1.0, -2.0, -3.001), (-1.0, float("-inf"), -3.0)], ids=str)
async def test_an_engine_that_thinks_otherwise_is_given_up(caller: Caller, opinion: tuple[float, ...]) -> None:
    caller.door.engine.opinion = opinion

    status, body = await caller.send(caller.policies.publish(4, signature=SIGNED))

    assert (status, "nats from the learner's" in body["error"]) == (400, True)
    assert await caller.status() == ("dirty", None)
    assert await caller.health() == 503
    with pytest.raises(Mistrust, match="it kept some old weights, or computes in another precision"):
        caller.door.agent.given_up.result()


async def test_an_engine_that_does_not_answer_the_probe_is_dirty_but_may_try_again(caller: Caller) -> None:
    caller.door.engine.hanging.add("/inference/v1/generate")
    label = caller.policies.publish(4, signature=SIGNED)

    assert (await caller.send(label))[0] == 503
    assert await caller.status() == ("dirty", None)
    assert not caller.door.agent.given_up.done()

    caller.door.engine.hanging.clear()
    caller.door.engine.opinion = OPINION
    assert (await caller.send(label))[0] == 200


async def an_answer_between_resume_and_probe(caller: Caller) -> tuple[asyncio.Task[Any], asyncio.Task[Any]]:
    """A generation that ends while new weights are in and unproven, and the update, both still under way."""
    engine, resumed = caller.door.engine, asyncio.Event()
    await caller.send(caller.policies.publish(4))
    asked = asyncio.create_task(caller.generate(7))
    await in_flight(caller.door, 1)
    engine.told.clear()
    engine.waiting["/resume"] = resumed
    sending = asyncio.create_task(caller.send(caller.policies.publish(5, signature=SIGNED)))
    await eventually(lambda: truth("/update_weight_version" in engine.told))
    engine.answer.set()
    await asyncio.sleep(0.1)
    assert not asked.done()
    resumed.set()
    return asked, sending


async def test_an_answer_that_ends_during_an_update_waits_for_the_probe(caller: Caller) -> None:
    caller.door.engine.opinion = OPINION

    asked, sending = await an_answer_between_resume_and_probe(caller)

    assert (await sending)[0] == 200
    assert await asked == (200, {"echo": 7})


async def test_an_answer_of_weights_that_are_mistrusted_is_never_given(caller: Caller) -> None:
    caller.door.engine.opinion = (0.0, 0.0, 0.0)

    asked, sending = await an_answer_between_resume_and_probe(caller)

    assert (await sending)[0] == 400
    assert (await asked)[0] == 503


async def test_a_policy_that_is_not_signed_is_served_unchecked(caller: Caller) -> None:
    label = caller.policies.publish(4)

    assert (await caller.send(label))[0] == 200
    assert "rlvr_rollout_probe_difference_nats" not in caller.door.board.render().decode()


def figure(caller: Caller, name: str) -> float:
    lines = caller.door.board.render().decode().splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} "))
