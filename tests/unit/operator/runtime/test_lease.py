"""Who may act: one process at a time, and only while it is certain."""

import asyncio
import time
from dataclasses import replace

from rlvr_operator.cluster.lease import Election, Terms
from rlvr_operator.cluster.resources import LEASES, Raw
from rlvr_operator.errors import Conflict, OperatorError, Unavailable
from runtime_fakes import FakeClient

TERMS = Terms(
    namespace="rlvr-system", name="rlvr-operator", identity="a", duration=1, renew_deadline=0.5, renew_period=0.05
)
PLACE = ("Lease", "rlvr-system", "rlvr-operator")


class Leader:
    """One replica: an election in the background and when it led."""

    def __init__(self, server: FakeClient, identity: str) -> None:
        self.election = Election(server, replace(TERMS, identity=identity))
        self.leading, self.idle = asyncio.Event(), asyncio.Event()
        self.stopped_at = 0.0
        self.task = asyncio.ensure_future(self.election.run(self._lead))

    async def _lead(self) -> None:
        self.leading.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.leading.clear()
            self.idle.set()
            self.stopped_at = time.monotonic()

    async def leads(self, within: float = 5.0) -> None:
        await asyncio.wait_for(self.leading.wait(), within)

    async def end(self) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


def spec(server: FakeClient) -> Raw:
    found: Raw = server.objects[PLACE]["spec"]
    return found


def refuse(server: FakeClient, error: OperatorError) -> None:
    for what in ("GET Lease/rlvr-operator", "PUT Lease/rlvr-operator"):
        server.failures[what] = error


async def test_the_first_to_come_leads_and_the_second_waits() -> None:
    server = FakeClient()
    first = Leader(server, "a")
    await first.leads()
    second = Leader(server, "b")
    await asyncio.sleep(1.3)

    assert first.leading.is_set() and not second.leading.is_set()
    assert (spec(server)["holderIdentity"], spec(server)["leaseTransitions"]) == ("a", 0)
    await second.end()
    await first.end()


async def test_leaving_releases_so_that_another_leads_at_once() -> None:
    server = FakeClient()
    first = Leader(server, "a")
    await first.leads()
    second = Leader(server, "b")
    await first.end()

    assert spec(server)["holderIdentity"] == ""
    await second.leads(within=0.3)
    assert spec(server)["leaseTransitions"] == 1
    await second.end()


async def test_a_holder_that_is_silent_is_followed_after_the_time_that_its_lease_names() -> None:
    server = FakeClient()
    began = time.monotonic()
    lease = {"holderIdentity": "dead", "leaseDurationSeconds": 1, "renewTime": "2020-01-01T00:00:00.000000Z"}
    metadata = {"name": TERMS.name, "namespace": TERMS.namespace}
    server.hold({"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": lease})
    second = Leader(server, "b")
    await second.leads()

    assert time.monotonic() - began > 1.0, "what another clock says about the past proves nothing"
    await second.end()


async def test_a_leader_that_cannot_renew_stops_before_another_may_start() -> None:
    server = FakeClient()
    first = Leader(server, "a")
    await first.leads()
    refuse(server, Unavailable("away"))
    cut_at = time.monotonic()
    await asyncio.wait_for(first.idle.wait(), 5.0)

    assert first.stopped_at - cut_at <= TERMS.renew_deadline + 0.2 < TERMS.duration
    assert first.election.seconds_left == 0
    server.failures.clear()
    await first.leads()
    await first.end()


async def test_a_leader_that_was_replaced_stops() -> None:
    server = FakeClient()
    first = Leader(server, "a")
    await first.leads()
    taken = server.objects[PLACE]
    server.hold(taken | {"spec": taken["spec"] | {"holderIdentity": "b"}})
    await asyncio.wait_for(first.idle.wait(), 5.0)

    assert not first.election.is_leader
    await first.end()
    assert spec(server)["holderIdentity"] == "b", "only one's own lease is released"


async def test_of_two_that_take_a_free_lease_at_the_same_time_one_gets_it() -> None:
    server = FakeClient()
    leaders = [Leader(server, "a"), Leader(server, "b")]
    await asyncio.sleep(0.3)

    assert [leader.leading.is_set() for leader in leaders].count(True) == 1
    for leader in leaders:
        await leader.end()


async def test_a_conflict_while_taking_it_is_not_leadership() -> None:
    server = FakeClient(failures={"PUT Lease/rlvr-operator": Conflict("modified", code=409)})
    metadata = {"name": TERMS.name, "namespace": TERMS.namespace}
    server.hold({"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": {}})
    leader = Leader(server, "a")
    await asyncio.sleep(0.2)

    assert not leader.leading.is_set()
    await leader.end()
