"""Objects with our names: ours are kept up to date, left-behind ones make way, anybody else's is never touched."""

import copy

import pytest

from rlvr_operator.cluster.cache import Cache, job_itself
from rlvr_operator.cluster.events import Recorder
from rlvr_operator.cluster.executor import Caches, Executor, JobHeld
from rlvr_operator.cluster.resources import CHILDREN, Raw
from rlvr_operator.observed import Refusal
from rlvr_operator.parsing import parse_job, parse_pod
from rlvr_operator.plan import Plan
from rlvr_operator.runtime import held
from runtime_fakes import FakeClient, a_child, a_raw_job, a_raw_pod, an_owner

POD = a_raw_pod()


class World:
    """A server with the job, and an executor that knows of nothing else."""

    def __init__(self) -> None:
        self.server = FakeClient()
        self.server.version = 1
        children = {resource: Cache(lambda raw: str(raw["kind"]), lambda _: None) for resource in CHILDREN}
        jobs: Cache[JobHeld] = Cache(held(parse_job), lambda _: None, job_of=job_itself)
        self.caches = Caches(jobs=jobs, pods=Cache(parse_pod, lambda _: None), children=children)
        recorder = Recorder(self.server, instance="test")  # type: ignore[arg-type]
        self.executor = Executor(self.server, self.caches, recorder, read_job=held(parse_job))  # type: ignore[arg-type]
        self.caches.jobs.put(self.server.hold(a_raw_job()))

    async def carry_out(self, plan: Plan) -> tuple[Refusal, ...]:
        (entry,) = self.caches.jobs.entries()
        return await self.executor.carry_out(entry.value, plan)

    def stored(self, kind: str = "ConfigMap", name: str = "sums") -> Raw | None:
        return self.server.objects.get((kind, "research", name))

    def has_pods(self) -> bool:
        return any(kind == "Pod" for kind, _, _ in self.server.objects)


def somebodys(owner: Raw | None = None) -> Raw:
    raw = a_child()
    raw["metadata"] = {"name": "sums", "namespace": "research", "ownerReferences": [owner] if owner else []}
    return raw


@pytest.mark.parametrize("owner", [{}, an_owner("x", kind="Deployment", name="web"), an_owner("x", name="other")])
@pytest.mark.parametrize("is_late", [False, True])
async def test_somebodys_object_is_left_as_it_is_and_no_pod_is_made_beside_it(owner: Raw, *, is_late: bool) -> None:
    world = World()
    before = copy.deepcopy(world.server.hold(somebodys(owner)))
    manifests = {"later" if is_late else "apply": (a_child(),)}
    (refusal,) = await world.carry_out(Plan(create=(POD,), **manifests))  # type: ignore[arg-type]

    assert (refusal.what, refusal.code) == ("ConfigMap/sums", 409)
    assert "is left alone" in refusal.message
    assert world.stored() == before
    assert not world.has_pods()


async def test_somebodys_pod_is_left_as_it_is() -> None:
    world = World()
    theirs = a_raw_pod()
    theirs["metadata"]["ownerReferences"] = []
    before = copy.deepcopy(world.server.hold(theirs))
    (refusal,) = await world.carry_out(Plan(create=(POD,)))

    assert "has no controller and is left alone" in refusal.message
    assert world.stored("Pod", POD["metadata"]["name"]) == before


async def test_what_a_deleted_job_of_the_name_left_behind_makes_way() -> None:
    world = World()
    old = world.server.hold(a_child(owner="uid-of-an-earlier-job"))
    refused = await world.carry_out(Plan(apply=(a_child(),), create=(POD,)))

    deletion = next(it for it in world.server.asked if it.startswith("DELETE"))
    assert deletion == "DELETE ConfigMap/sums"
    assert [it.code for it in refused] == [409], "a deletion takes its time: it is tried again"
    assert world.stored() is not None and world.stored()["metadata"]["uid"] == old["metadata"]["uid"]  # type: ignore[index]
    world.server.drop(old)
    assert await world.carry_out(Plan(apply=(a_child(),), create=(POD,))) == ()
    assert world.has_pods()


async def test_our_own_object_that_no_watch_has_told_of_is_brought_up_to_date() -> None:
    world = World()
    ours = world.server.hold(a_child(digest="old"))
    assert await world.carry_out(Plan(apply=(a_child(digest="new"),))) == ()

    stored = world.stored()
    assert stored is not None and stored["metadata"]["uid"] == ours["metadata"]["uid"]
    assert stored["metadata"]["annotations"]["rlvr.dev/hash"] == "new"


async def test_our_own_object_that_is_known_costs_one_request() -> None:
    world = World()
    config_maps = next(it for it in CHILDREN if it.kind == "ConfigMap")
    world.caches.children[config_maps].put(world.server.hold(a_child(digest="old")))
    await world.carry_out(Plan(apply=(a_child(digest="new"),)))

    assert world.server.asked == ["APPLY ConfigMap/sums"]


async def test_an_object_that_was_ours_and_has_been_made_anew_by_somebody_is_left_alone() -> None:
    world = World()
    config_maps = next(it for it in CHILDREN if it.kind == "ConfigMap")
    ours = world.server.hold(a_child(digest="old"))
    world.caches.children[config_maps].put(ours)
    world.server.drop(ours)
    theirs = world.server.hold(somebodys())
    (refusal,) = await world.carry_out(Plan(apply=(a_child(digest="new"),)))

    assert refusal.code == 409
    assert world.stored() == theirs


async def test_an_object_that_was_ours_and_is_gone_is_made_again() -> None:
    world = World()
    config_maps = next(it for it in CHILDREN if it.kind == "ConfigMap")
    ours = world.server.hold(a_child())
    world.caches.children[config_maps].put(ours)
    world.server.drop(ours)

    assert await world.carry_out(Plan(apply=(a_child(),))) == ()
    assert world.stored() is not None


async def test_a_free_name_of_a_late_child_takes_nothing_but_a_look() -> None:
    world = World()
    refused = await world.carry_out(Plan(later=(a_child("Service"),), create=(POD,)))

    assert refused == ()
    assert world.server.asked == ["GET Service/sums", f"POST Pod/{POD['metadata']['name']}"]
    assert world.stored("Service") is None
