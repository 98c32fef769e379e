import asyncio
from pathlib import Path

import aiohttp
import pytest

from engine_fakes import Caller, eventually, in_flight, truth

UPDATE = ["/pause?mode=keep&clear_cache=true", "/collective_rpc", "/update_weight_version", "/resume"]
SECONDS = {"fetchSeconds", "pauseSeconds", "probeSeconds"}


async def test_an_agent_without_a_policy_is_joining_unhealthy_and_refuses_work(caller: Caller) -> None:
    assert await caller.status() == ("joining", None)
    assert await caller.health() == 503
    status, body = await caller.generate()
    assert (status, "POST /policy" in body["error"]) == (503, True)


async def test_a_policy_is_installed_in_the_one_safe_order(caller: Caller, tmp_path: Path) -> None:
    label = caller.policies.publish(4)

    status, reply = await caller.send(label)

    assert (status, reply["label"], set(reply)) == (200, label, SECONDS | {"label"})
    assert caller.door.engine.told == UPDATE
    assert await caller.status() == ("ready", label)
    assert await caller.health() == 200
    assert (tmp_path / "policies" / label / "READY").exists()
    assert "rlvr_rollout_policy_step 4.0" in caller.door.board.render().decode()


async def test_the_same_policy_twice_is_done_once(caller: Caller) -> None:
    label = caller.policies.publish(4)
    await caller.send(label)

    assert await caller.send(label) == (200, dict.fromkeys(SECONDS, 0.0) | {"label": label})
    assert caller.door.engine.told == UPDATE


async def test_two_updates_at_once_take_turns(caller: Caller) -> None:
    labels = [caller.policies.publish(step) for step in (4, 5)]

    replies = await asyncio.gather(*(caller.send(label) for label in labels))

    assert [status for status, _ in replies] == [200, 200]
    assert caller.door.engine.told == UPDATE * 2
    assert await caller.status() == ("ready", caller.door.engine.version)


async def test_only_the_newest_two_policies_stay_on_disk(caller: Caller, tmp_path: Path) -> None:
    labels = [caller.policies.publish(step) for step in (4, 5, 6)]
    for label in labels:
        await caller.send(label)

    assert sorted(path.name for path in (tmp_path / "policies").iterdir()) == labels[1:]


async def test_generation_is_passed_on_unread_and_without_our_token(caller: Caller) -> None:
    await caller.send(caller.policies.publish(4))
    caller.door.engine.answer.set()

    assert await caller.generate(7) == (200, {"echo": 7})
    assert "Authorization" not in caller.door.engine.headers
    assert caller.door.engine.headers["Content-Type"] == "application/json"


async def test_a_refusal_of_the_engine_is_passed_on(caller: Caller) -> None:
    await caller.send(caller.policies.publish(4))
    caller.door.engine.failing["/inference/v1/generate"] = 400

    async with caller.session.post(f"{caller.door.url}/inference/v1/generate", json=1) as reply:
        assert (reply.status, await reply.text()) == (400, "told to fail")


async def test_more_requests_than_it_takes_are_refused(caller: Caller) -> None:
    await caller.send(caller.policies.publish(4))
    asked = [asyncio.create_task(caller.generate(i)) for i in range(2)]
    await in_flight(caller.door, 2)

    assert (await caller.generate())[0] == 503

    caller.door.engine.answer.set()
    assert [status for status, _ in await asyncio.gather(*asked)] == [200, 200]


async def test_a_client_that_leaves_is_forgotten_by_the_engine_too(caller: Caller) -> None:
    await caller.send(caller.policies.publish(4))
    asked = asyncio.create_task(caller.generate())
    await in_flight(caller.door, 1)

    asked.cancel()

    await in_flight(caller.door, 0)
    await eventually(lambda: truth(caller.door.engine.abandoned == 1))


async def test_without_the_token_only_health_and_figures_are_shown(caller: Caller) -> None:
    async with aiohttp.ClientSession() as stranger:
        for path, status in (("/status", 401), ("/metrics", 200), ("/health", 503)):
            async with stranger.get(caller.door.url + path) as reply:
                assert reply.status == status


async def test_a_policy_that_cannot_be_fetched_leaves_the_old_one_in_use(caller: Caller) -> None:
    old, new = (caller.policies.publish(step) for step in (4, 5))
    await caller.send(old)
    caller.policies.spoiled.add("model.safetensors")

    status, body = await caller.send(new)

    assert (status, "sha256" in body["error"]) == (400, True)
    assert await caller.status() == ("ready", old)
    assert caller.door.engine.told == UPDATE
    assert "rlvr_rollout_policy_errors_total 1.0" in caller.door.board.render().decode()


@pytest.mark.parametrize("path", ["/collective_rpc", "/update_weight_version", "/resume"])
async def test_an_update_that_fails_half_way_resumes_cuts_off_and_is_dirty(caller: Caller, path: str) -> None:
    old, new = (caller.policies.publish(step) for step in (4, 5))
    await caller.send(old)
    asked = asyncio.create_task(caller.generate())
    await in_flight(caller.door, 1)
    caller.door.engine.told.clear()
    caller.door.engine.failing[path] = 500

    status, _ = await caller.send(new)

    assert status == 400
    assert await caller.status() == ("dirty", None)
    assert (await asked)[0] == 503
    assert "/abort_requests" in caller.door.engine.told
    assert path == "/resume" or caller.door.engine.told[-1] == "/resume"
    caller.door.engine.failing.clear()
    assert (await caller.send(new))[0] == 200
    assert await caller.status() == ("ready", new)


async def test_a_control_call_that_hangs_is_given_up_in_time(caller: Caller) -> None:
    label = caller.policies.publish(4)
    caller.door.engine.hanging.add("/collective_rpc")

    async with asyncio.timeout(5):
        status, body = await caller.send(label)

    assert (status, "gave no answer" in body["error"]) == (503, True)
    assert await caller.status() == ("dirty", None)
    assert caller.door.engine.told[-1] == "/resume"


async def test_a_label_that_did_not_take_is_a_failure(caller: Caller) -> None:
    label = caller.policies.publish(4)
    caller.door.engine.ignoring = True

    status, body = await caller.send(label)

    assert (status, "'default'" in body["error"]) == (503, True)
    assert (await caller.status())[0] == "dirty"


async def test_a_restarted_engine_is_noticed_and_what_it_was_writing_is_asked_for_again(caller: Caller) -> None:
    label = caller.policies.publish(4)
    await caller.send(label)
    asked = asyncio.create_task(caller.generate())
    await in_flight(caller.door, 1)

    caller.door.engine.version = "default"

    await caller.until("joining")
    assert (await asked)[0] == 503
    assert (await caller.send(label))[0] == 200
    assert await caller.status() == ("ready", label)


async def test_an_engine_that_answers_again_is_ready_again(caller: Caller) -> None:
    label = caller.policies.publish(4)
    await caller.send(label)
    caller.door.engine.failing["/weight_info"] = 503
    await caller.until("joining")

    caller.door.engine.failing.clear()

    await caller.until("ready")
    assert await caller.status() == ("ready", label)


@pytest.mark.parametrize("body", ['{"label": "4-aaaaaaaaaaaa"}', "[]", "{", '{"label": 4, "url": "x"}'])
async def test_an_offer_that_is_none_is_refused(caller: Caller, body: str) -> None:
    async with caller.session.post(f"{caller.door.url}/policy", data=body) as reply:
        assert reply.status == 400


async def test_an_update_goes_on_when_whoever_sent_it_has_left(caller: Caller) -> None:
    label = caller.policies.publish(4)
    sending = asyncio.create_task(caller.send(label))
    await eventually(lambda: truth(caller.door.engine.told))

    sending.cancel()

    await caller.until("ready")
    assert caller.door.engine.told == UPDATE
