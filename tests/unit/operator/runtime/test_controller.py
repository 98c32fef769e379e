"""Observe, reconcile, carry out, look again; and what happens when that goes wrong."""

import logging
from collections.abc import Iterator

import pytest

from rlvr_api import RLVRJobStatus
from rlvr_operator.cluster.cache import Cache, Key, job_itself
from rlvr_operator.cluster.events import Recorder
from rlvr_operator.cluster.executor import Caches, Executor, JobHeld
from rlvr_operator.cluster.nodes import Nodes
from rlvr_operator.cluster.resources import CHILDREN
from rlvr_operator.controller import Controller, Senses
from rlvr_operator.errors import LeadershipLost, OperatorError, Refused, Unavailable
from rlvr_operator.metrics import Board
from rlvr_operator.observed import Observed
from rlvr_operator.parsing import parse_job, parse_pod
from rlvr_operator.plan import Plan
from rlvr_operator.progress import Coordinators
from rlvr_operator.runtime import held
from rlvr_operator.workqueue import WorkQueue
from runtime_fakes import Clock, FakeClient, a_child, a_raw_job, a_raw_pod

SUMS = Key("research", "sums")


async def no_token(_uid: str) -> str:
    return ""


class Desk:
    """A controller whose plans are written down, with its surroundings; remembers what it was shown."""

    def __init__(self, *plans: Plan | Exception) -> None:
        self._plans: Iterator[Plan | Exception] = iter(plans)
        self.shown: list[Observed] = []
        self.server, self.clock, self.board = FakeClient(), Clock(), Board()
        self.queue: WorkQueue[Key] = WorkQueue(clock=self.clock, jitter=lambda: 1.0)
        children = {resource: Cache(lambda _: "abc", self.queue.add) for resource in CHILDREN}
        jobs: Cache[JobHeld] = Cache(held(parse_job), lambda _: None, job_of=job_itself)
        self.caches = Caches(jobs=jobs, pods=Cache(parse_pod, lambda _: None), children=children)
        self.nodes = Nodes(lambda _: None)
        senses = Senses(caches=self.caches, nodes=self.nodes, coordinators=Coordinators(no_token, self.queue.add))
        recorder = Recorder(self.server, instance="test")  # type: ignore[arg-type]
        executor = Executor(self.server, self.caches, recorder, read_job=held(parse_job))  # type: ignore[arg-type]
        self.controller = Controller(self._reconcile, senses, executor, self.queue, self.board)
        self.caches.jobs.put(self.server.hold(a_raw_job()))

    def _reconcile(self, seen: Observed) -> Plan:
        self.shown.append(seen)
        plan = next(self._plans, Plan())
        if isinstance(plan, Exception):
            raise plan
        return plan

    async def look(self) -> None:
        """One turn of a worker."""
        await self.controller.attempt(SUMS)

    def next_look(self) -> float | None:
        """Seconds until the key comes again."""
        began = self.clock.now
        for _ in range(4000):
            if len(self.queue):
                return self.clock.now - began
            self.clock.turn(0.1)
        return None


async def test_reconcile_sees_what_the_job_owns_and_nothing_of_an_earlier_job_of_that_name() -> None:
    desk = Desk()
    for pod in (a_raw_pod(), a_raw_pod("sums-rollout-0-a0", owner="uid-of-an-earlier-job")):
        desk.caches.pods.put(desk.server.hold(pod))
    config_maps = next(it for it in CHILDREN if it.kind == "ConfigMap")
    desk.caches.children[config_maps].put(desk.server.hold(a_child()))
    desk.caches.children[config_maps].put(desk.server.hold(a_child(name="old", owner="uid-of-an-earlier-job")))
    await desk.look()

    (seen,) = desk.shown
    assert seen.job.name == "sums"
    assert [pod.name for pod in seen.pods] == ["sums-learner-0-a0"]
    assert seen.applied == {"ConfigMap/sums": "abc"}


async def test_reconcile_sees_which_nodes_are_lost() -> None:
    desk = Desk()
    desk.nodes.keep_only(set(), version=1)
    pod = a_raw_pod()
    pod["spec"]["nodeName"] = "node-7"
    desk.caches.pods.put(desk.server.hold(pod))
    await desk.look()

    assert desk.shown[0].lost_nodes == {"node-7"}


async def test_an_empty_plan_writes_nothing_and_makes_no_appointment() -> None:
    desk = Desk(Plan())
    await desk.look()

    assert desk.server.asked == []
    assert desk.next_look() is None


async def test_the_job_is_looked_at_again_when_the_plan_says_so() -> None:
    desk = Desk(Plan(look_again_seconds=42.0))
    await desk.look()

    assert desk.next_look() == pytest.approx(42.0, abs=0.2)


async def test_a_refusal_is_shown_at_the_next_looks_until_the_thing_is_made() -> None:
    wanted = Plan(create=(a_raw_pod(),))
    desk = Desk(wanted, Plan(), wanted, Plan())
    desk.server.failures["POST Pod/sums-learner-0-a0"] = Refused("exceeded quota", code=403)
    await desk.look()
    assert desk.next_look() == pytest.approx(0.5, abs=0.2)
    await desk.look()
    desk.server.failures.clear()
    await desk.look()
    await desk.look()

    said = [[(it.what, it.message) for it in seen.refusals] for seen in desk.shown]
    assert said == [
        [],
        [("Pod/sums-learner-0-a0", "exceeded quota")],
        [("Pod/sums-learner-0-a0", "exceeded quota")],
        [],
    ]


@pytest.mark.parametrize("error", [Unavailable("away"), LeadershipLost("lost")])
async def test_an_outage_is_tried_again_later_without_a_line_per_job(
    error: OperatorError, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    desk = Desk(Plan(create=(a_raw_pod(),)))
    desk.server.failures["POST Pod/sums-learner-0-a0"] = error
    await desk.look()

    assert desk.next_look() == pytest.approx(0.5, abs=0.2)
    assert caplog.records == []


async def test_a_surprise_in_one_job_is_logged_and_tried_again_later(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(ZeroDivisionError("surprise"))
    await desk.look()

    assert desk.next_look() == pytest.approx(0.5, abs=0.2)
    assert "research/sums" in caplog.text
    assert b'rlvr_operator_reconcile_errors_total{kind="ZeroDivisionError"} 1.0' in desk.board.render()


async def test_a_status_that_the_server_refuses_is_logged_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(Plan(status=RLVRJobStatus(phase="Running")))
    desk.server.failures["PATCH RLVRJob/sums/status"] = Refused("status.phase: invalid", code=422)
    await desk.look()

    assert desk.next_look() is not None
    assert "status.phase: invalid" in caplog.text


async def test_a_job_that_is_gone_is_forgotten() -> None:
    desk = Desk()
    desk.queue.retry(SUMS)
    desk.caches.jobs.forget(SUMS, "sums", uid="job-uid")
    await desk.look()

    assert desk.shown == []
    assert desk.next_look() is None
