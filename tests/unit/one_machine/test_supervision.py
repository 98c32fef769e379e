"""The failure rules of a job, by numbers: a made-up clock, no process."""

from dataclasses import dataclass, field
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_trainer.one_machine.events import (
    Action,
    Ending,
    Event,
    Exited,
    Interrupted,
    Kill,
    Progressed,
    Say,
    Start,
    Stop,
    Tick,
)
from rlvr_trainer.one_machine.state import Life, Limits, Member, OnExit, Rule, State
from rlvr_trainer.one_machine.supervision import begin, decide, restart_delay

Happening = tuple[str, int] | str | int | float
CREW = {
    "reward-0": Member(rule=Rule.REPLACE),
    "engine-0": Member(rule=Rule.REPLACE),
    "learner-0": Member(rule=Rule.ATTEMPT, saves=True),
    "coordinator": Member(rule=Rule.ATTEMPT),
}


@dataclass
class Play:
    """A run on paper: feed it events, read what it would do."""

    limits: Limits = field(default_factory=Limits)
    now: float = 0.0
    done: list[Action] = field(default_factory=list)
    state: State = field(default_factory=lambda: begin(CREW, attempt=0, checkpoint=None, now=0.0))

    def __post_init__(self) -> None:
        self.feed(Tick())

    def feed(self, *events: Event, after: float = 0.0) -> tuple[Action, ...]:
        """The actions of `events`, `after` seconds later."""
        self.now += after
        before = len(self.done)
        for event in events:
            self.state, actions = decide(self.state, event, now=self.now, limits=self.limits)
            self.done.extend(actions)
        return tuple(action for action in self.done[before:] if not isinstance(action, Say))

    def lose_attempt(self, *, checkpoint: int | None = None, after: float = 1.0) -> None:
        """The learner crashes, the coordinator stops as asked, and time passes until the next attempt started."""
        self.feed(Progressed(step=None, checkpoint=checkpoint), Exited("learner-0", 1), after=after)
        if self.state.outcome is None:
            self.feed(Exited("coordinator", -15))
            self.feed(Tick(), after=31.0)

    @property
    def said(self) -> str:
        return "\n".join(action.text for action in self.done if isinstance(action, Say))

    def life(self, name: str) -> Life:
        return self.state.members[name].life


def test_everything_starts_at_once_in_the_order_of_the_crew() -> None:
    assert Play().done == [Start("reward-0"), Start("engine-0"), Start("learner-0"), Start("coordinator")]


def test_restart_delays_double_from_half_a_second_to_thirty() -> None:
    assert [restart_delay(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 100)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_lost_engine_is_named_and_started_again_after_half_a_second() -> None:
    play = Play()

    assert play.feed(Exited("engine-0", -9)) == ()
    assert play.said == "engine-0 exited with SIGKILL; restarting in 0.5 s"
    assert play.feed(Tick(), after=0.49) == ()
    assert play.feed(Tick(), after=0.01) == (Start("engine-0"),)
    assert play.state.attempt == 0


def test_a_reward_process_that_exits_cleanly_is_replaced_too() -> None:
    play = Play()

    play.feed(Exited("reward-0", 0))

    assert play.life("reward-0") is Life.WAITING


def test_an_engine_may_be_lost_ten_times_in_ten_minutes_but_not_eleven() -> None:
    play = Play()
    for _ in range(10):
        play.feed(Exited("engine-0", 1))
        play.feed(Tick(), after=30.0)
    assert play.state.outcome is None

    play.feed(Exited("engine-0", 1))

    assert play.state.outcome is not None
    assert play.state.outcome.ending is Ending.FAILED
    assert play.state.outcome.culprit == "engine-0"
    assert "11 times within 10 minutes" in play.state.outcome.reason


def test_losses_older_than_ten_minutes_are_forgiven() -> None:
    play = Play()
    for _ in range(30):
        play.feed(Exited("engine-0", 1))
        play.feed(Tick(), after=61.0)

    assert play.state.outcome is None
    assert len(play.state.members["engine-0"].exits) == 10


def test_a_crashed_learner_takes_the_coordinator_along_and_both_start_as_the_next_attempt() -> None:
    play = Play()

    assert play.feed(Progressed(step=12, checkpoint=10), Exited("learner-0", 1)) == (Stop("coordinator"),)
    assert play.feed(Tick(), after=5.0) == ()
    assert play.feed(Exited("coordinator", -15)) == ()
    assert play.feed(Tick(), after=0.5) == (Start("learner-0"), Start("coordinator"))
    assert (play.state.attempt, play.state.restarts) == (1, 1)
    assert play.said == (
        "learner-0 exited with code 1; its attempt is given up (1 of 3 restarts used)\n"
        "attempt 1 starts from the checkpoint of step 10 in 0.5 s"
    )


def test_a_coordinator_that_does_not_stop_is_killed_after_ten_seconds() -> None:
    play = Play()
    play.feed(Exited("learner-0", 1))

    assert play.feed(Tick(), after=9.9) == ()
    assert play.feed(Tick(), after=0.2) == (Kill("coordinator"),)
    assert play.feed(Tick(), after=60.0) == ()


def test_rollout_and_reward_stay_while_an_attempt_is_replaced() -> None:
    play = Play()
    play.lose_attempt()

    assert Stop("engine-0") not in play.done
    assert play.life("reward-0") is Life.RUNNING


def test_both_lost_at_the_same_moment_is_one_restart() -> None:
    play = Play()

    play.feed(Exited("learner-0", -9), Exited("coordinator", -9))

    assert (play.state.attempt, play.state.restarts) == (1, 1)


def test_an_invalid_job_is_not_tried_again() -> None:
    play = Play(limits=Limits(final_codes=frozenset({64})))

    play.feed(Exited("engine-0", 64))

    assert play.state.outcome is not None
    assert play.state.outcome.reason == "engine-0 exited with code 64: another attempt would end the same way"


def test_an_exit_that_is_free_by_rule_costs_no_restart() -> None:
    play = Play(limits=Limits(max_restarts=0, on_exit={137: OnExit.RESTART_FREE}))

    play.feed(Progressed(step=3, checkpoint=3), Exited("learner-0", -9), Exited("coordinator", -15))

    assert (play.state.attempt, play.state.restarts, play.state.outcome) == (1, 0, None)


def test_an_exit_that_is_final_by_rule_ends_the_run_unless_it_was_an_engine() -> None:
    play = Play(limits=Limits(on_exit={137: OnExit.FAIL}))
    play.feed(Exited("engine-0", -9))
    assert play.state.outcome is None

    play.feed(Exited("learner-0", -9))

    assert play.state.outcome is not None
    assert "learner.restart.rules" in play.state.outcome.reason


def test_free_restarts_must_make_progress_too() -> None:
    play = Play(limits=Limits(no_progress_attempts=2, on_exit={75: OnExit.RESTART_FREE}))
    for _ in range(2):
        play.feed(Exited("learner-0", 75), Exited("coordinator", -15))
        play.feed(Tick(), after=31.0)

    assert play.state.outcome is not None


def test_a_run_that_never_begins_to_train_fails_after_the_startup_deadline() -> None:
    begun, silent = (Play(limits=Limits(startup_seconds=60.0)) for _ in range(2))
    begun.feed(Progressed(step=0, checkpoint=None), Tick(), after=61.0)
    silent.feed(Progressed(step=None, checkpoint=None), Tick(), after=61.0)

    assert begun.state.outcome is None
    assert silent.state.outcome is not None
    assert "startupDeadlineSeconds" in silent.state.outcome.reason


def test_two_attempts_without_a_newer_checkpoint_stop_the_job() -> None:
    play = Play(limits=Limits(max_restarts=9, no_progress_attempts=2))
    play.lose_attempt()
    assert play.state.outcome is None

    play.lose_attempt()

    assert play.state.outcome is not None
    assert "2 attempts in a row made no newer checkpoint" in play.state.outcome.reason


def test_an_old_checkpoint_is_not_progress() -> None:
    play = Play(limits=Limits(no_progress_attempts=2))
    play.lose_attempt(checkpoint=10)
    play.lose_attempt(checkpoint=10)
    assert play.state.outcome is None

    play.lose_attempt(checkpoint=10)

    assert play.state.outcome is not None


def test_the_restart_budget_ends_even_with_progress() -> None:
    play = Play(limits=Limits(max_restarts=3))
    for step in (1, 2, 3):
        play.lose_attempt(checkpoint=step)
    assert play.state.outcome is None

    play.lose_attempt(checkpoint=4)

    assert play.state.outcome is not None
    assert "all 3 restarts" in play.state.outcome.reason


def test_a_stable_attempt_with_a_newer_checkpoint_earns_the_budget_back() -> None:
    play = Play(limits=Limits(max_restarts=3, stable_seconds=600.0))
    for step in range(1, 20):
        play.lose_attempt(checkpoint=step, after=601.0)

    assert play.state.outcome is None
    assert play.state.restarts == 1


def test_a_stable_attempt_without_progress_does_not() -> None:
    play = Play(limits=Limits(max_restarts=3, stable_seconds=600.0, no_progress_attempts=99))
    for _ in range(4):
        play.lose_attempt(after=601.0)

    assert play.state.outcome is not None


def test_the_run_is_complete_when_learner_and_coordinator_are_done_and_the_rest_stopped() -> None:
    play = Play()

    assert play.feed(Exited("learner-0", 0)) == ()
    assert play.feed(Exited("coordinator", 0)) == (Stop("reward-0"), Stop("engine-0"))
    assert not play.state.is_over
    play.feed(Exited("reward-0", -15), Exited("engine-0", -15))

    assert play.state.is_over
    assert play.state.outcome is not None
    assert play.state.outcome.ending is Ending.COMPLETE


def test_a_coordinator_lost_after_the_learner_is_done_is_another_attempt() -> None:
    play = Play()

    play.feed(Exited("learner-0", 0), Exited("coordinator", -9))

    assert play.feed(Tick(), after=0.5) == (Start("learner-0"), Start("coordinator"))


def test_an_interrupt_lets_the_learner_save_before_anything_else_stops() -> None:
    play = Play()

    assert play.feed(Interrupted()) == (Stop("learner-0"),)
    assert play.feed(Tick(), after=59.0) == ()
    assert play.feed(Exited("learner-0", 0)) == (Stop("reward-0"), Stop("engine-0"), Stop("coordinator"))
    assert play.state.outcome is not None
    assert play.state.outcome.ending is Ending.STOPPED


def test_a_learner_that_does_not_save_in_a_minute_is_killed() -> None:
    play = Play()
    play.feed(Interrupted())

    assert play.feed(Tick(), after=61.0) == (Kill("learner-0"),)


def test_a_rollout_lost_while_the_learner_saves_is_still_replaced() -> None:
    play = Play()
    play.feed(Interrupted(), Exited("engine-0", -9))

    assert play.feed(Tick(), after=1.0) == (Start("engine-0"),)


def test_a_second_interrupt_kills_everything_at_once() -> None:
    play = Play()
    play.feed(Interrupted())

    assert play.feed(Interrupted()) == tuple(map(Kill, CREW))


def test_an_interrupt_between_two_attempts_ends_the_run() -> None:
    play = Play()
    play.feed(Exited("learner-0", 1), Exited("coordinator", -15))

    assert play.feed(Interrupted()) == (Stop("reward-0"), Stop("engine-0"))
    assert play.feed(Tick(), after=60.0) == (Kill("reward-0"), Kill("engine-0"))


def test_no_step_for_too_long_is_a_lost_attempt() -> None:
    play = Play(limits=Limits(hang_seconds=100.0))
    play.feed(Progressed(step=3, checkpoint=None), after=90.0)
    assert play.feed(Tick(), after=99.0) == ()

    assert play.feed(Progressed(step=3, checkpoint=None), Tick(), after=2.0) == (Stop("learner-0"), Stop("coordinator"))
    assert "no step has finished for 100 s" in play.said


def test_a_run_past_its_deadline_fails_but_the_learner_may_save() -> None:
    play = Play(limits=Limits(active_seconds=50.0))

    actions = play.feed(Tick(), after=51.0)

    assert actions[0] == Stop("learner-0")
    assert play.state.members["learner-0"].due == 51.0 + 60.0
    assert play.state.members["engine-0"].due == 51.0 + 10.0
    assert play.state.outcome is not None
    assert "activeDeadlineSeconds" in play.state.outcome.reason


@pytest.mark.parametrize("code", [0, 1, -9, -15])
def test_whatever_the_exit_codes_a_decided_run_starts_nothing_and_ends(code: int) -> None:
    play = Play(limits=Limits(max_restarts=0))
    play.feed(Exited("learner-0", 1))

    late = play.feed(*(Exited(name, code) for name in ("reward-0", "engine-0", "coordinator")), Tick(), after=inf)

    assert late == ()
    assert play.state.is_over


NAMES = st.sampled_from(sorted(CREW))
HAPPENINGS = st.lists(
    st.one_of(
        st.tuples(NAMES, st.sampled_from([0, 1, 64, 75, -9, -15])),
        st.just("interrupt"),
        st.integers(0, 30),
        st.floats(0.01, 40.0),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(HAPPENINGS)
def test_whatever_happens_no_process_runs_twice_and_the_run_can_end(happenings: list[Happening]) -> None:
    play = Play(limits=Limits(max_restarts=3, final_codes=frozenset({64}), on_exit={75: OnExit.RESTART_FREE}))
    running = set(CREW)
    for happening in happenings:
        actions = play.feed(*events_of(happening, running), after=happening if isinstance(happening, float) else 0.0)
        starts = [action.name for action in actions if isinstance(action, Start)]
        assert running.isdisjoint(starts)
        assert len(starts) == len(set(starts))
        assert not (starts and play.state.outcome)
        running |= set(starts)
        assert running == {name for name in CREW if play.life(name) in {Life.RUNNING, Life.STOPPING}}
        assert play.state.restarts <= 4

    play.feed(Interrupted(), Interrupted(), *(Exited(name, -9) for name in running))
    assert play.state.is_over


def events_of(happening: Happening, running: set[str]) -> tuple[Event, ...]:
    """The events of one happening; only what runs can exit."""
    match happening:
        case (name, code) if name in running:
            running.remove(name)
            return (Exited(name, code), Tick())
        case "interrupt":
            return (Interrupted(), Tick())
        case int():
            return (Progressed(step=happening, checkpoint=happening), Tick())
    return (Tick(),)
