"""The learner broadcasts what it publishes: to whom, in which order, and what is left when it goes wrong."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from aiohttp import web

from broadcast_fakes import FakeTransport, World, a_world
from engine_fakes import a_token
from rlvr_trainer.learner.broadcasting.agents import replicas_at
from rlvr_trainer.learner.broadcasting.plan import MOST_FAILURES, Patience
from rlvr_trainer.learner.broadcasting.sender import Broadcaster
from rlvr_trainer.storage.signatures import Signature
from rlvr_trainer.transport import open_client, serving

SIGNED = Signature(token_ids=(5, 6, 7), logprobs=(-1.0, -2.0), tolerance=1e-4)
WEIGHTS = {"a": torch.zeros(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}
QUICK = Patience(look=2.0, join=2.0, wanted=0.5, take=2.0)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(tmp_path, number=2) as rollouts:
        for number in range(2):
            rollouts.door(number).engine.opinion = SIGNED.logprobs
        yield rollouts


def a_broadcaster(world: World, transport: FakeTransport) -> Broadcaster:
    return Broadcaster(transport, rollouts=lambda: world.urls, token=a_token, patience=QUICK, name="a0")


async def by_folder(world: World, step: int) -> str:
    label = world.policies.publish(step, signature=SIGNED)
    assert await world.want(label) == [200, 200]
    return label


async def broadcast(world: World, broadcaster: Broadcaster, step: int) -> tuple[str, list[int]]:
    """Publish as the learner does, with a coordinator that wants it at once; what it was answered by the rollouts."""
    await asyncio.to_thread(broadcaster.prepare)
    label = world.policies.publish(step, signature=SIGNED)
    world.policies.served.clear()
    wanted = asyncio.create_task(world.want(label))
    await asyncio.to_thread(broadcaster.send, label, WEIGHTS, SIGNED)
    return label, await wanted


async def test_rollouts_without_a_policy_take_the_folder_and_nothing_is_sent(world: World) -> None:
    transport = FakeTransport()

    label, answers = await broadcast(world, a_broadcaster(world, transport), 1)

    assert (answers, transport.told) == ([200, 200], [])
    assert await world.versions() == [label, label]


async def test_the_next_policy_is_broadcast_to_all_in_one_circle(world: World) -> None:
    transport = FakeTransport()
    world.door(0).engine.world_size = 4
    await by_folder(world, 1)

    label, answers = await broadcast(world, a_broadcaster(world, transport), 2)

    assert answers == [200, 200]
    assert await world.versions() == [label, label]
    assert world.policies.served == []
    assert transport.told == ["rendezvous", "join 6", "broadcast"]
    told = {number: world.door(number).engine.joined for number in range(2)}
    first, second = sorted(range(2), key=lambda number: world.urls[number])
    sizes = {0: 4, 1: 1}
    assert told[first] == [{"nccl_unique_id_b64": "aWQ=", "rank_offset": 1, "world_size": 6}]
    assert told[second] == [{"nccl_unique_id_b64": "aWQ=", "rank_offset": 1 + sizes[first], "world_size": 6}]
    assert world.door(0).engine.received == [
        {"names": ["a", "b"], "dtype_names": ["float32", "bfloat16"], "shapes": [[2, 3], [4]]}
    ]


async def test_a_circle_lasts_and_is_made_anew_when_an_engine_was_replaced(world: World) -> None:
    transport = FakeTransport()
    broadcaster = a_broadcaster(world, transport)
    await by_folder(world, 1)
    for step in (2, 3):
        await broadcast(world, broadcaster, step)
    assert transport.told == ["rendezvous", "join 3", "broadcast", "broadcast"]

    world.door(1).engine.version = "default"
    await world.door(1).agent._updates.look()
    label, answers = await broadcast(world, broadcaster, 4)

    assert answers == [200, 200], "one by broadcast, the new one from the folder"
    assert transport.told[4:] == ["abandon", "rendezvous", "join 2", "broadcast"]
    assert await world.versions() == [label, label]

    await broadcast(world, broadcaster, 5)
    assert transport.told[8:] == ["abandon", "rendezvous", "join 3", "broadcast"]


async def test_a_policy_that_the_coordinator_wants_too_late_is_not_sent_nor_waited_for(world: World) -> None:
    transport = FakeTransport()
    broadcaster = a_broadcaster(world, transport)
    await by_folder(world, 1)
    await asyncio.to_thread(broadcaster.prepare)
    label = world.policies.publish(2, signature=SIGNED)

    await asyncio.to_thread(broadcaster.send, label, WEIGHTS, SIGNED)

    async with asyncio.timeout(2.5):  # rollouts wait 3 s for a learner that says nothing
        assert await world.want(label) == [200, 200]
    assert transport.told == ["rendezvous", "join 3"]
    assert (await broadcast(world, broadcaster, 3))[1] == [200, 200]
    assert transport.told[2:] == ["broadcast"], "in the same circle"


async def test_the_others_do_not_wait_for_a_broadcast_when_one_is_gone(world: World) -> None:
    transport = FakeTransport()
    broadcaster = a_broadcaster(world, transport)
    await by_folder(world, 1)
    await asyncio.to_thread(broadcaster.prepare)
    await world.end(1)
    label = world.policies.publish(2, signature=SIGNED)

    await asyncio.to_thread(broadcaster.send, label, WEIGHTS, SIGNED)

    async with asyncio.timeout(2.5):
        assert (await world.callers[0].send(label))[0] == 200
    assert transport.told == ["rendezvous", "join 3", "abandon"]


@pytest.mark.parametrize("fault", ["transport fails", "transport hangs", "an engine refuses", "an engine hangs"])
async def test_a_broadcast_that_fails_ends_in_time_and_all_take_the_folder(world: World, fault: str) -> None:
    transport = FakeTransport(
        failing={"broadcast"} if fault == "transport fails" else set(),
        blocking={"broadcast"} if fault == "transport hangs" else set(),
    )
    await by_folder(world, 1)
    if fault == "an engine refuses":
        transport.blocking = {"broadcast"}  # it waits for an engine that never comes
        world.door(1).engine.failing["/update_weights"] = 500
    if fault == "an engine hangs":
        world.door(1).engine.hanging.add("/update_weights")

    async with asyncio.timeout(15):  # what blocks in the transport would last 30 s
        label, _ = await broadcast(world, a_broadcaster(world, transport), 2)

    assert transport.told == ["rendezvous", "join 3", "broadcast", "abandon"]
    for number in range(2):
        world.door(number).engine.hanging.clear()
        world.door(number).engine.failing.clear()
    assert await world.want(label) == [200, 200]
    assert await world.versions() == [label, label]


async def test_a_circle_that_cannot_meet_costs_nothing_but_the_time(world: World) -> None:
    transport = FakeTransport(blocking={"join"})
    await by_folder(world, 1)

    label, answers = await broadcast(world, a_broadcaster(world, transport), 2)

    assert transport.told == ["rendezvous", "join 3", "abandon"]
    assert (answers, await world.versions()) == ([200, 200], [label, label])


async def test_after_some_failures_in_a_row_folders_are_all_there_is(world: World) -> None:
    transport = FakeTransport(failing={"join"})
    broadcaster = a_broadcaster(world, transport)
    await by_folder(world, 1)

    for _ in range(MOST_FAILURES + 2):
        await asyncio.to_thread(broadcaster.prepare)

    assert transport.told.count("join 3") == MOST_FAILURES


async def test_a_broadcast_that_works_forgives_the_failures_before(world: World) -> None:
    transport = FakeTransport()
    broadcaster = a_broadcaster(world, transport)
    await by_folder(world, 1)
    for step in range(2, 2 + 2 * MOST_FAILURES, 2):
        transport.failing = {"broadcast"}
        label, _ = await broadcast(world, broadcaster, step)
        assert await world.want(label) == [200, 200]
        transport.failing = set()
        await broadcast(world, broadcaster, step + 1)

    assert len(transport.sent) == MOST_FAILURES


async def test_a_policy_that_a_rollout_has_already_is_not_waited_for(world: World) -> None:
    transport, patient = FakeTransport(), replace(QUICK, wanted=30.0)
    broadcaster = Broadcaster(transport, rollouts=lambda: world.urls, token=a_token, patience=patient, name="a0")
    label = await by_folder(world, 1)
    await asyncio.to_thread(broadcaster.prepare)

    async with asyncio.timeout(15):
        await asyncio.to_thread(broadcaster.send, label, WEIGHTS, SIGNED)

    assert transport.told == ["rendezvous", "join 3"]


async def test_rollouts_that_do_not_answer_are_left_out(world: World) -> None:
    transport = FakeTransport()
    await by_folder(world, 1)
    urls = ("http://127.0.0.1:1", *world.urls)
    broadcaster = Broadcaster(transport, rollouts=lambda: urls, token=a_token, patience=QUICK, name="a0")

    label, _ = await broadcast(world, broadcaster, 2)

    assert transport.told == ["rendezvous", "join 3", "broadcast"]
    assert await world.versions() == [label, label]


@pytest.mark.parametrize(("told", "sizes"), [({"worldSize": 2}, [2]), ({}, [])], ids=str)
async def test_a_rollout_of_unknown_size_is_in_no_circle(told: dict[str, int], sizes: list[int]) -> None:
    async def standing(_: web.Request) -> web.Response:
        return web.json_response({"state": "ready", "version": "1-a", **told})

    app = web.Application()
    app.router.add_get("/broadcast", standing)
    async with serving(app, host="127.0.0.1", port=0) as url, open_client(token=None) as client:
        assert [replica.world_size for replica in await replicas_at(client, [url], seconds=5.0)] == sizes
