"""Plans are carried out in their order; refusals are told, not raised; the status is guarded."""

import dataclasses
import time

import pytest

from rlvr_api import RLVRJobStatus, contract
from rlvr_operator.cluster.cache import Cache, Key, job_itself
from rlvr_operator.cluster.events import Recorder, name_of
from rlvr_operator.cluster.executor import Caches, Executor, JobHeld, difference
from rlvr_operator.cluster.resources import CHILDREN, Raw
from rlvr_operator.errors import Conflict, LeadershipLost, Missing, Refused, Unavailable
from rlvr_operator.parsing import parse_job, parse_pod
from rlvr_operator.plan import ChildDeletion, Event, Plan, PodDeletion
from rlvr_operator.runtime import held
from runtime_fakes import FakeClient, a_child, a_raw_job, a_raw_pod

SUMS = Key("research", "sums")
EVERYTHING = Plan(
    finalizer="add",
    delete_pods=(PodDeletion(name="sums-rollout-0-a0", uid="old-pod", grace_seconds=0, reason="failed"),),
    delete_children=(ChildDeletion(kind="Service", name="sums-old"),),
    apply=(a_child(),),
    create=(a_raw_pod("sums-rollout-0-a1"), a_raw_pod("sums-learner-0-a0")),
    status=RLVRJobStatus(phase="Starting"),
    events=(Event(type="Normal", reason="Started", message="pods are made"),),
)


class World:
    """A server that has the job, and an executor that knows it."""

    def __init__(self, **job: object) -> None:
        self.server = FakeClient()
        children = {resource: Cache(lambda raw: str(raw["kind"]), lambda _: None) for resource in CHILDREN}
        jobs: Cache[JobHeld] = Cache(held(parse_job), lambda _: None, job_of=job_itself)
        self.caches = Caches(jobs=jobs, pods=Cache(parse_pod, lambda _: None), children=children)
        recorder = Recorder(self.server, instance="test")  # type: ignore[arg-type]
        self.executor = Executor(self.server, self.caches, recorder, read_job=held(parse_job))  # type: ignore[arg-type]
        self.caches.jobs.put(self.server.hold(a_raw_job(**job)))  # type: ignore[arg-type]

    @property
    def job(self) -> JobHeld:
        entry = self.caches.jobs.find(SUMS, "sums")
        assert entry is not None
        return entry.value

    def stored(self, kind: str = contract.KIND, name: str = "sums") -> Raw:
        return self.server.objects[kind, "research", name]


async def test_everything_happens_in_the_order_that_plans_document() -> None:
    world = World()
    doomed = a_raw_pod("sums-rollout-0-a0")
    doomed["metadata"]["uid"] = "old-pod"
    world.caches.pods.put(world.server.hold(doomed))
    service = next(resource for resource in CHILDREN if resource.kind == "Service")
    world.caches.children[service].put(world.server.hold(a_child("Service", "sums-old")))
    refused = await world.executor.carry_out(world.job, EVERYTHING)

    assert refused == ()
    assert [it.partition("Event/")[0] for it in world.server.asked] == [
        "PATCH RLVRJob/sums",
        "DELETE Pod/sums-rollout-0-a0 in 0 s",
        "DELETE Service/sums-old",
        "APPLY ConfigMap/sums",
        "POST Pod/sums-rollout-0-a1",
        "POST Pod/sums-learner-0-a0",
        "PATCH RLVRJob/sums/status",
        "POST ",
    ]
    assert world.stored()["status"]["phase"] == "Starting"
    assert world.stored()["metadata"]["finalizers"] == [contract.FINALIZER]


async def test_the_finalizer_goes_before_the_job_is_deleted_and_after_the_status() -> None:
    world = World(finalizers=["someone/else", contract.FINALIZER])
    await world.executor.carry_out(
        world.job, Plan(finalizer="remove", status=RLVRJobStatus(phase="Failed"), delete_job=True)
    )

    assert world.server.asked == ["PATCH RLVRJob/sums/status", "PATCH RLVRJob/sums", "DELETE RLVRJob/sums"]
    assert world.stored()["metadata"]["finalizers"] == ["someone/else"]


async def test_what_was_made_is_known_at_once() -> None:
    world = World()
    await world.executor.carry_out(world.job, Plan(create=(a_raw_pod(),), status=RLVRJobStatus(phase="Starting")))

    assert [entry.name for entry in world.caches.pods.of(SUMS)] == ["sums-learner-0-a0"]
    assert world.job.seen.status.phase == "Starting"


async def test_a_deleted_pod_is_known_to_be_on_its_way_out() -> None:
    world = World()
    pod = world.server.hold(a_raw_pod())
    world.caches.pods.put(pod)
    doomed = PodDeletion(name=pod["metadata"]["name"], uid=pod["metadata"]["uid"], reason="test")
    await world.executor.carry_out(world.job, Plan(delete_pods=(doomed,)))

    assert [entry.value.is_terminating for entry in world.caches.pods.of(SUMS)] == [True]


async def test_a_pod_that_exists_already_is_success_and_known() -> None:
    world = World()
    world.server.hold(a_raw_pod())

    assert await world.executor.carry_out(world.job, Plan(create=(a_raw_pod(),))) == ()
    assert len(world.caches.pods) == 1


async def test_a_pod_of_that_name_that_is_not_ours_is_a_refusal_that_says_so() -> None:
    world = World()
    world.server.hold(a_raw_pod(owner="uid-of-an-earlier-job"))
    (refusal,) = await world.executor.carry_out(world.job, Plan(create=(a_raw_pod(),)))

    assert (refusal.what, refusal.code) == ("Pod/sums-learner-0-a0", 409)
    assert "of an earlier job of this name" in refusal.message
    assert len(world.caches.pods) == 0


async def test_refusals_are_told_in_the_servers_words_and_the_rest_is_done() -> None:
    world = World()
    world.server.failures["POST Pod/sums-learner-0-a0"] = Refused("exceeded quota: gpus", code=403)
    refused = await world.executor.carry_out(world.job, EVERYTHING)

    assert [(it.what, it.code, it.message) for it in refused] == [
        ("Pod/sums-learner-0-a0", 403, "exceeded quota: gpus")
    ]
    assert ("Pod", "research", "sums-rollout-0-a1") in world.server.objects
    assert world.stored()["status"]["phase"] == "Starting"


async def test_deleting_what_is_gone_or_has_been_replaced_is_success() -> None:
    world = World()
    world.server.hold(a_raw_pod())
    gone = PodDeletion(name="sums-rollout-0-a0", uid="x", reason="test")
    other = PodDeletion(name="sums-learner-0-a0", uid="of an earlier one", reason="test")

    assert await world.executor.carry_out(world.job, Plan(delete_pods=(gone, other))) == ()
    assert "deletionTimestamp" not in world.stored("Pod", "sums-learner-0-a0")["metadata"]


@pytest.mark.parametrize("error", [Unavailable("away"), LeadershipLost("lost")])
async def test_what_keeps_us_from_writing_is_raised_before_the_status(error: Exception) -> None:
    world = World()
    world.server.failures["POST Pod/sums-learner-0-a0"] = error  # type: ignore[assignment]
    with pytest.raises(type(error)):
        await world.executor.carry_out(world.job, EVERYTHING)

    assert "PATCH RLVRJob/sums/status" not in world.server.asked


async def test_a_job_that_has_changed_since_the_look_keeps_its_status_and_no_event_is_told() -> None:
    world = World()
    seen = world.job
    world.server.hold(a_raw_job(labels={"edited": "meanwhile"}))
    with pytest.raises(Conflict):
        await world.executor.carry_out(seen, Plan(status=RLVRJobStatus(phase="Running"), events=EVERYTHING.events))

    assert world.stored()["status"] == {}
    assert not [it for it in world.server.asked if "Event/" in it]


async def test_a_job_that_is_gone_is_forgotten() -> None:
    world = World()
    seen = world.job
    world.server.drop(world.stored())
    with pytest.raises(Missing):
        await world.executor.carry_out(seen, Plan(status=RLVRJobStatus(phase="Running")))

    assert world.caches.jobs.find(SUMS, "sums") is None


async def test_a_status_field_that_is_not_wanted_any_more_is_removed() -> None:
    world = World(status={"phase": "Running", "message": "waiting", "attempt": 2})
    await world.executor.carry_out(world.job, Plan(status=RLVRJobStatus(phase="Running", attempt=2)))

    assert "message" not in world.stored()["status"]
    assert world.stored()["status"]["attempt"] == 2


async def test_an_event_that_is_refused_stops_nothing() -> None:
    world = World()
    name = name_of(world.job.seen, EVERYTHING.events[0])
    world.server.failures[f"POST Event/{name}"] = Refused("the namespace is being terminated", code=403)
    await world.executor.carry_out(world.job, Plan(events=EVERYTHING.events, finalizer="remove"))

    assert world.server.asked == [f"POST Event/{name}", "PATCH RLVRJob/sums"]


def test_a_difference_turns_the_old_into_the_new() -> None:
    old = {"a": 1, "b": {"c": 1, "d": [1, 2]}, "gone": {"x": 1}}
    new = {"a": 1, "b": {"c": 2, "d": [2]}, "new": {"y": 1}}

    assert difference(old, new) == {"b": {"c": 2, "d": [2]}, "gone": None, "new": {"y": 1}}
    assert difference(new, new) == {}


async def test_what_others_made_for_the_job_is_deleted_by_its_name_and_may_be_gone_already() -> None:
    world = World()
    workload = ChildDeletion(kind="Workload", name="sums-job-uid", api_version="kueue.x-k8s.io/v1beta1")
    raw = {"apiVersion": workload.api_version, "kind": "Workload"}
    world.server.hold(raw | {"metadata": {"name": workload.name, "namespace": "research", "uid": "kueues"}})

    first = await world.executor.carry_out(world.job, Plan(delete_children=(workload,)))
    assert "deletionTimestamp" in world.stored("Workload", workload.name)["metadata"]

    del world.server.objects["Workload", "research", workload.name]
    again = await world.executor.carry_out(world.job, Plan(delete_children=(workload,)))
    assert first == again == ()


async def test_nothing_is_made_for_a_job_that_is_gone_although_no_watch_said_so() -> None:
    world = World()
    job = world.job
    del world.server.objects[contract.KIND, "research", "sums"]
    old = dataclasses.replace(world.caches.jobs.find(SUMS, "sums"), seen_at=time.monotonic() - 60)  # type: ignore[type-var]
    world.caches.jobs._jobs[SUMS]["sums"] = old

    with pytest.raises(Missing):
        await world.executor.carry_out(job, Plan(create=(a_raw_pod("sums-learner-0-a0"),)))
    assert ("Pod", "research", "sums-learner-0-a0") not in world.server.objects
    assert world.caches.jobs.find(SUMS, "sums") is None
