"""Weights that the learner broadcasts: they come when the coordinator wants them, and a folder stands behind each."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine_fakes import PATIENT, Caller, Door, a_door, eventually, truth
from rlvr_trainer.storage.signatures import Signature
from rlvr_trainer.wire import to_json

INIT = {"nccl_unique_id_b64": "aWQ=", "rank_offset": 1, "world_size": 3}
UPDATE = {"names": ["a"], "dtype_names": ["bfloat16"], "shapes": [[2, 2]]}
BY_BROADCAST = [
    "/pause?mode=keep&clear_cache=true",
    "/start_weight_update",
    "/update_weights",
    "/finish_weight_update",
    "/resume",
]
BY_FOLDER = ["/pause?mode=keep&clear_cache=true", "/collective_rpc", "/update_weight_version", "/resume"]
SIGNED = Signature(token_ids=(5, 6, 7, 8), logprobs=(-1.0, -2.0, -3.0), tolerance=1e-4)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with a_door(tmp_path / "policies", patience=PATIENT) as opened:
        yield opened


async def seen(caller: Caller, *, query: str = "") -> dict[str, Any]:
    async with caller.session.get(f"{caller.door.url}/broadcast{query}") as reply:
        found: dict[str, Any] = await reply.json()
        return found


async def join(caller: Caller, *, circle: str = "g1") -> int:
    body = to_json({"circle": circle, "initInfo": INIT, "seconds": 5.0})
    async with caller.session.post(f"{caller.door.url}/broadcast/join", data=body) as reply:
        return reply.status


async def take(caller: Caller, label: str, *, circle: str = "g1", signature: Any = None) -> tuple[int, str]:
    body = {"label": label, "circle": circle, "updateInfo": UPDATE, "signature": signature, "seconds": 0.3}
    async with caller.session.post(f"{caller.door.url}/broadcast/take", data=to_json(body)) as reply:
        return reply.status, await reply.text()


async def a_member(caller: Caller) -> None:
    """An engine that took policy 4 from its folder and was brought into circle g1."""
    await caller.send(caller.policies.publish(4))
    assert await join(caller) == 200
    caller.door.engine.told.clear()
    caller.policies.served.clear()


async def sent_and_wanted(caller: Caller, label: str) -> asyncio.Task[tuple[int, Any]]:
    """The coordinator asks for `label`, and the agent waits for its broadcast."""
    sending = asyncio.create_task(caller.send(label))

    async def is_wanted() -> bool:
        return bool((await seen(caller))["wanted"] == label)

    await eventually(is_wanted)
    return sending


async def test_an_engine_joins_once_it_has_a_policy_and_leaves_what_it_was_in_before(caller: Caller) -> None:
    assert await join(caller) == 503

    await a_member(caller)

    assert (await seen(caller))["circle"] == "g1"
    assert caller.door.engine.joined == [INIT]
    assert await join(caller, circle="g2") == 200
    assert caller.door.engine.told == ["/shutdown_weight_transfer_engine"]
    assert (await seen(caller))["circle"] == "g2"


async def test_the_size_of_an_engine_is_asked_of_it(caller: Caller) -> None:
    caller.door.engine.world_size = 4

    assert (await seen(caller, query="?size"))["worldSize"] == 4
    assert "worldSize" not in await seen(caller)


async def test_a_policy_that_is_wanted_and_broadcast_comes_without_its_folder(caller: Caller) -> None:
    caller.door.engine.opinion = SIGNED.logprobs
    await a_member(caller)
    label = caller.policies.publish(5, signature=SIGNED)

    sending = await sent_and_wanted(caller, label)
    assert caller.door.engine.told == [], "it generates while it waits"

    assert (await take(caller, label, signature=SIGNED))[0] == 200
    assert (await sending)[0] == 200
    assert (caller.door.engine.told, caller.door.engine.received) == (BY_BROADCAST, [UPDATE])
    assert caller.policies.served == []
    assert await caller.status() == ("ready", label)
    assert "rlvr_rollout_probe_difference_nats 0.0" in caller.door.board.render().decode()


async def test_a_policy_that_nobody_broadcasts_comes_from_its_folder_and_the_circle_is_left(caller: Caller) -> None:
    await a_member(caller)
    label = caller.policies.publish(5)

    assert (await caller.send(label))[0] == 200

    assert caller.door.engine.told == BY_FOLDER
    assert (await seen(caller))["circle"] is None


@pytest.mark.parametrize("when", ["before", "while it waits"])
async def test_a_policy_that_the_learner_skips_is_not_waited_for_and_the_circle_stays(
    caller: Caller, when: str
) -> None:
    await a_member(caller)
    label = caller.policies.publish(5)
    sending = await sent_and_wanted(caller, label) if when == "while it waits" else None

    async with asyncio.timeout(2.5):  # it would wait for 3 s
        async with caller.session.post(f"{caller.door.url}/broadcast/skip", json={"label": label}) as reply:
            assert reply.status == 200
        assert (await (sending or caller.send(label)))[0] == 200

    assert caller.door.engine.told == BY_FOLDER
    assert (await seen(caller))["circle"] == "g1"


async def test_a_broadcast_that_the_coordinator_did_not_ask_for_changes_nothing(caller: Caller) -> None:
    await a_member(caller)

    status, words = await take(caller, caller.policies.publish(5))

    assert (status, "is not waited for here" in words) == (400, True)
    assert caller.door.engine.told == []


async def test_a_broadcast_of_another_policy_than_the_one_waited_for_is_refused(caller: Caller) -> None:
    await a_member(caller)
    label, other = caller.policies.publish(5), caller.policies.publish(6)
    sending = await sent_and_wanted(caller, label)

    assert (await take(caller, other))[0] == 400
    assert (await take(caller, label))[0] == 200

    assert (await sending)[0] == 200
    assert await caller.status() == ("ready", label)


async def test_a_broadcast_to_another_circle_is_refused_and_the_folder_taken(caller: Caller) -> None:
    await a_member(caller)
    label = caller.policies.publish(5)
    sending = await sent_and_wanted(caller, label)

    assert (await take(caller, label, circle="g2"))[0] == 503

    assert (await sending)[0] == 200
    assert caller.door.engine.told == BY_FOLDER


CLOSED = ["/start_weight_update", "/finish_weight_update", "/abort_requests", "/resume"]
"""Layers that wait for weights are put back, then the engine goes on."""


@pytest.mark.parametrize("fault", ["refused", "stuck"])
async def test_a_broadcast_that_fails_leaves_the_engine_dirty_and_the_folder_cures_it(
    caller: Caller, fault: str
) -> None:
    await a_member(caller)
    engine, label = caller.door.engine, caller.policies.publish(5)
    if fault == "refused":
        engine.failing["/update_weights"] = 500
    else:
        engine.hanging.add("/update_weights")
    sending = await sent_and_wanted(caller, label)

    status, words = await take(caller, label)

    assert (status, "the broadcast failed here" in words) == (503, True)
    assert (await sending)[0] in {400, 503}
    assert engine.told[-4:] == CLOSED
    assert await caller.status() == ("dirty", None)
    assert (await seen(caller))["circle"] is None

    engine.told.clear()
    assert (await caller.send(label))[0] == 200
    assert engine.told == BY_FOLDER
    assert not caller.door.agent.given_up.done()


async def test_weights_that_a_broadcast_spoiled_are_mistrusted_but_the_engine_may_take_the_folder(
    caller: Caller,
) -> None:
    await a_member(caller)
    caller.door.engine.opinion = (0.0, 0.0, 0.0)
    label = caller.policies.publish(5, signature=SIGNED)
    sending = await sent_and_wanted(caller, label)

    status, words = await take(caller, label, signature=SIGNED)

    assert (status, "nats from the learner's" in words) == (503, True)
    assert (await sending)[0] == 400
    assert not caller.door.agent.given_up.done()

    assert (await caller.send(label))[0] == 400
    assert caller.door.agent.given_up.done(), "the folder was its last chance"


async def test_an_engine_that_was_replaced_is_in_no_circle(caller: Caller) -> None:
    await a_member(caller)

    caller.door.engine.version = "default"

    async def has_left() -> bool:
        return (await seen(caller))["circle"] is None

    await eventually(has_left)
    assert (await caller.send(caller.policies.publish(5)))[0] == 200
    assert caller.door.engine.told == BY_FOLDER
    assert (await seen(caller))["circle"] is None


async def test_without_a_token_nobody_joins_or_takes(caller: Caller) -> None:
    for path in ("/broadcast/join", "/broadcast/take", "/broadcast/skip"):
        async with caller.session.post(caller.door.url + path, headers={"Authorization": "Bearer wrong"}) as reply:
            assert reply.status == 401
    assert await truth(not caller.door.engine.joined)
