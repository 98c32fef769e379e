"""One Event object per distinct event, counted when it repeats, and never a flood."""

from rlvr_operator.cluster.events import Recorder, name_of
from rlvr_operator.errors import Missing
from rlvr_operator.parsing import parse_job
from rlvr_operator.plan import Event
from runtime_fakes import Clock, FakeClient, a_raw_job

JOB = parse_job(a_raw_job())
LOST = Event(type="Warning", reason="RolloutLost", message="sums-rollout-0-a0 was lost")
OTHER = Event(type="Warning", reason="RolloutLost", message="sums-rollout-1-a0 was lost")


def a_recorder(server: FakeClient, clock: Clock) -> Recorder:
    return Recorder(server, instance="test", clock=clock)  # type: ignore[arg-type]


def counts(server: FakeClient) -> list[int]:
    return [it["count"] for it in server.objects.values()]


async def test_repetitions_are_counted_on_one_object_and_written_at_most_once_a_minute() -> None:
    server, clock = FakeClient(), Clock()
    recorder = a_recorder(server, clock)
    for _ in range(5):
        await recorder.tell(JOB, LOST)
    assert (counts(server), len(server.asked)) == ([1], 1)

    clock.turn(61.0)
    await recorder.tell(JOB, LOST)
    assert (counts(server), len(server.asked)) == ([6], 2)


async def test_different_events_are_different_objects() -> None:
    server = FakeClient()
    recorder = a_recorder(server, Clock())
    for event in (LOST, OTHER):
        await recorder.tell(JOB, event)

    assert counts(server) == [1, 1]
    assert name_of(JOB, LOST) == name_of(JOB, Event(type="Warning", reason="RolloutLost", message=LOST.message))


async def test_a_restarted_operator_goes_on_counting() -> None:
    server = FakeClient()
    await a_recorder(server, Clock()).tell(JOB, LOST)
    await a_recorder(server, Clock()).tell(JOB, LOST)

    assert counts(server) == [2]


async def test_an_event_that_the_server_has_forgotten_is_not_an_error_and_is_written_anew() -> None:
    server, clock = FakeClient(), Clock()
    recorder = a_recorder(server, clock)
    await recorder.tell(JOB, LOST)
    server.failures[f"PATCH Event/{name_of(JOB, LOST)}"] = Missing("gone", code=404)
    server.objects.clear()
    clock.turn(61.0)
    await recorder.tell(JOB, LOST)

    assert counts(server) == [2]


async def test_a_message_that_is_too_long_for_an_event_is_cut() -> None:
    server = FakeClient()
    await a_recorder(server, Clock()).tell(JOB, Event(type="Normal", reason="Long", message="x" * 5000))
    (event,) = server.objects.values()

    assert len(event["message"]) == 1024
    assert event["involvedObject"]["uid"] == JOB.uid
