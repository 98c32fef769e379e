"""The jobs that kopf delivered are compared with what the API server has."""

from rlvr_operator.cluster.audit import Audit
from rlvr_operator.cluster.cache import Cache, Key, job_itself
from rlvr_operator.cluster.executor import JobHeld
from rlvr_operator.cluster.informer import Reach
from rlvr_operator.parsing import parse_job
from rlvr_operator.runtime import held
from runtime_fakes import Clock, FakeClient, a_raw_job


class Office:
    """An audit with its surroundings."""

    def __init__(self) -> None:
        self.server, self.clock = FakeClient(), Clock()
        self.rung: list[Key] = []
        self.jobs: Cache[JobHeld] = Cache(held(parse_job), self.rung.append, job_of=job_itself, clock=self.clock)
        self.audit = Audit(self.server, self.jobs, namespaces=(), reach=Reach(), clock=self.clock)  # type: ignore[arg-type]


async def test_a_job_whose_deletion_kopf_missed_is_dropped() -> None:
    office = Office()
    ghost = office.server.hold(a_raw_job("ghost", uid="g"))
    office.jobs.put(ghost)
    office.server.drop(ghost)
    office.server.version += 1
    await office.audit.check()

    assert office.jobs.jobs() == []
    assert office.rung[-1] == Key("research", "ghost")


async def test_a_job_that_kopf_has_just_delivered_is_not_fetched() -> None:
    office = Office()
    office.jobs.put(office.server.hold(a_raw_job()))
    office.clock.turn(10.0)
    await office.audit.check()

    assert office.server.asked == ["LIST RLVRJob"]
    assert office.audit.age == 0.0


async def test_a_job_that_stays_behind_is_fetched_and_the_cache_is_not_called_right() -> None:
    office = Office()
    office.server.hold(a_raw_job(status={"phase": "Running"}))
    await office.audit.check()
    assert office.jobs.jobs() == [], "kopf gets one period to deliver"

    office.clock.turn(30.0)
    await office.audit.check()
    assert office.jobs.jobs() == [Key("research", "sums")]
    assert office.audit.age == 30.0

    await office.audit.check()
    assert office.audit.age == 0.0


async def test_a_job_that_changes_all_the_time_is_not_mistaken_for_a_silent_watch() -> None:
    office = Office()
    for _ in range(5):
        office.server.hold(a_raw_job())
        await office.audit.check()

    assert "GET RLVRJob/sums" not in office.server.asked
