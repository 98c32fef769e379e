"""What to do when something happens to a process: a job's failure rules, as numbers.

`decide` is pure: it sees no clock, signal or process.  A replaceable member (rollout, reward) is started again with
back-off.  Members of the attempt (learner, coordinator) share a fate: one lost, both end, and the next attempt starts
from the newest checkpoint.  Progress earns the restart budget back; attempts that make none stop the job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import inf
from types import MappingProxyType
from typing import Final

from rlvr_api import contract
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
    describe_exit,
)
from rlvr_trainer.one_machine.state import Life, Limits, Member, OnExit, Outcome, Rule, State

EXIT_FAILED: Final = 1
EXIT_STOPPED: Final = 130
"""What `rlvr run` ends with, beside 0 and the final codes of its processes; 130 as for any program that Ctrl-C ends."""
REPLACEMENTS: Final = 10
WINDOW_SECONDS: Final = 600.0
"""A replaceable member may be lost so many times within so long."""
STOP_SECONDS: Final = 10.0
"""From SIGTERM to SIGKILL."""
SAVE_SECONDS: Final = 60.0
"""The same for a member that saves a checkpoint first."""

Decision = tuple[State, tuple[Action, ...]]


def begin(members: Mapping[str, Member], *, attempt: int, checkpoint: int | None, now: float) -> State:
    """A run whose members are all due at once."""
    return State(
        members=MappingProxyType({name: replace(member, due=now) for name, member in members.items()}),
        attempt=attempt,
        started=now,
        attempt_started=now,
        attempt_checkpoint=checkpoint,
        checkpoint=checkpoint,
        moved=now,
    )


def decide(state: State, event: Event, *, now: float, limits: Limits) -> Decision:
    """The state after `event`, and what has to be done, in order.  Times are seconds of one monotonic clock."""
    match event:
        case Exited(name=name, code=code):
            return _exited(state, name, code, now=now, limits=limits)
        case Progressed(step=step, checkpoint=checkpoint):
            return _progressed(state, step, checkpoint, now=now), ()
        case Interrupted():
            return _interrupted(state, now=now)
        case Tick():
            return _ticked(state, now=now, limits=limits)


def restart_delay(failures: int) -> float:
    """Seconds before the next start after so many failures (1, 2, ...): 0.5, 1, 2, ... 30."""
    return float(min(0.5 * 2 ** min(failures - 1, 10), 30.0))


def shell_code(code: int) -> int:
    """The exit code as a shell or a kubelet shows it: 128 + n for signal n."""
    return 128 - code if code < 0 else code


def _exited(state: State, name: str, code: int, *, now: float, limits: Limits) -> Decision:
    member, what = state.members[name], f"{name} {describe_exit(code)}"
    state = _with(state, {name: replace(member, life=Life.FINISHED if code == 0 else Life.LOST)})
    if state.outcome is not None:
        return state, ()
    if state.stopping and member.saves:
        has_saved = code in {contract.EXIT_DONE, contract.EXIT_INTERRUPTED}
        return _stopped(state, "" if has_saved else f"; {what} before it saved a checkpoint", now=now)
    if code in limits.final_codes:
        reason = f"{what}: another attempt would end the same way"
        return _failed(state, reason, culprit=name, now=now, exit_code=code)
    if member.rule is Rule.REPLACE:
        return _replaced(state, name, what, now=now)
    if member.life is Life.STOPPING:
        return _settled(state, now=now)
    return _attempt_member_exited(state, name, code, now=now, limits=limits)


def _attempt_member_exited(state: State, name: str, code: int, *, now: float, limits: Limits) -> Decision:
    """Learner or coordinator ended without having been asked to."""
    if code == 0:
        return _settled(state, now=now)
    what = f"{name} {describe_exit(code)}"
    meaning = limits.on_exit.get(shell_code(code), OnExit.RESTART)
    if meaning is OnExit.FAIL:
        return _failed(state, f"{what}, which learner.restart.rules calls final", culprit=name, now=now)
    return _lost(_counted(state, meaning, now=now, limits=limits), name, what, now=now, limits=limits)


def _replaced(state: State, name: str, what: str, *, now: float) -> Decision:
    member = state.members[name]
    exits = (*(at for at in member.exits if now - at < WINDOW_SECONDS), now)
    if len(exits) > REPLACEMENTS:
        reason = f"{what}; it ended {len(exits)} times within {WINDOW_SECONDS / 60:.0f} minutes"
        return _failed(state, reason, culprit=name, now=now)
    delay = restart_delay(len(exits))
    waiting = replace(member, life=Life.WAITING, due=now + delay, exits=exits)
    return _with(state, {name: waiting}), (Say(f"{what}; restarting in {delay:g} s"),)


def _lost(state: State, name: str, what: str, *, now: float, limits: Limits) -> Decision:
    """An attempt that is already counted is lost because of `name`: stop what is left of it, or the whole run."""
    if state.stopping:
        return _stopped(state, f"; {what}", now=now)
    refusal = _refusal(state, limits)
    if refusal:
        return _failed(state, f"{what}; {refusal}", culprit=name, now=now)
    notice = f"{what}; its attempt is given up ({state.restarts} of {limits.max_restarts} restarts used)"
    state, stops = _stop(state, _attempt(state), grace=STOP_SECONDS, now=now)
    state, more = _settled(state, now=now)
    return state, (Say(notice), *stops, *more)


def _counted(state: State, meaning: OnExit, *, now: float, limits: Limits) -> State:
    progressed = state.checkpoint is not None and state.checkpoint > (state.attempt_checkpoint or 0)
    stable = now - state.attempt_started >= limits.stable_seconds
    spent = 0 if progressed and stable else state.restarts
    return replace(
        state,
        restarts=spent + (meaning is OnExit.RESTART),
        fruitless=0 if progressed else state.fruitless + 1,
    )


def _refusal(state: State, limits: Limits) -> str:
    """Why there is no further attempt; empty when there is one."""
    if state.restarts > limits.max_restarts:
        return f"all {limits.max_restarts} restarts (learner.restart.maxRestarts) are used up"
    if state.fruitless >= limits.no_progress_attempts:
        return f"{state.fruitless} attempts in a row made no newer checkpoint (learner.restart.noProgressAttempts)"
    return ""


def _settled(state: State, *, now: float) -> Decision:
    """After a member of the attempt ended: complete, next attempt, or wait for the others."""
    group = [state.members[name] for name in _attempt(state)]
    if not all(member.has_ended for member in group):
        return state, ()
    if all(member.life is Life.FINISHED for member in group) and state.outcome is None:
        return _end(state, Outcome(ending=Ending.COMPLETE), now=now)
    return _next_attempt(state, now=now)


def _next_attempt(state: State, *, now: float) -> Decision:
    delay = restart_delay(max(state.restarts, 1))
    due = now + delay
    again = {name: replace(state.members[name], life=Life.WAITING, due=due) for name in _attempt(state)}
    origin = "the beginning" if state.checkpoint is None else f"the checkpoint of step {state.checkpoint}"
    state = replace(
        _with(state, again),
        attempt=state.attempt + 1,
        attempt_started=due,
        attempt_checkpoint=state.checkpoint,
        moved=due,
    )
    return state, (Say(f"attempt {state.attempt} starts from {origin} in {delay:g} s"),)


def _progressed(state: State, step: int | None, checkpoint: int | None, *, now: float) -> State:
    known = [value for value in (state.checkpoint, checkpoint) if value is not None]
    moved = now if step is not None and step != state.step else state.moved
    return replace(state, checkpoint=max(known, default=None), step=state.step if step is None else step, moved=moved)


def _interrupted(state: State, *, now: float) -> Decision:
    """First: the learner saves, then all stop.  Again: everything is killed."""
    if state.stopping or state.outcome is not None:
        killed = Outcome(ending=Ending.STOPPED, reason="killed on request", exit_code=EXIT_STOPPED)
        state = replace(state, outcome=state.outcome or killed)
        alive = [name for name, member in state.members.items() if member.life in {Life.RUNNING, Life.STOPPING}]
        return _withdraw_waiting(state), tuple(Kill(name) for name in alive)
    saving = [name for name, member in state.members.items() if member.saves and member.life is Life.RUNNING]
    if not saving:
        return _stopped(state, "", now=now)
    state, stops = _stop(replace(state, stopping=True), saving, grace=SAVE_SECONDS, now=now)
    return state, (Say("stopping after a checkpoint; interrupt again to kill everything at once"), *stops)


def _ticked(state: State, *, now: float, limits: Limits) -> Decision:
    if state.outcome is None and not state.stopping:
        overdue = _overdue(state, now=now, limits=limits)
        if overdue:
            return _failed(state, overdue, culprit="", now=now)
        if now - state.moved > limits.hang_seconds:
            return _hung(state, now=now, limits=limits)
    due = {name: member for name, member in state.members.items() if member.due <= now}
    starts = {name: replace(m, life=Life.RUNNING, due=inf) for name, m in due.items() if m.life is Life.WAITING}
    kills = {name: replace(m, due=inf) for name, m in due.items() if m.life is Life.STOPPING}
    return _with(state, {**starts, **kills}), (*map(Start, starts), *map(Kill, kills))


def _overdue(state: State, *, now: float, limits: Limits) -> str:
    """Which deadline has passed; empty when none has."""
    if now - state.started > limits.active_seconds:
        return f"not finished after {limits.active_seconds:g} s (limits.activeDeadlineSeconds)"
    if state.step is None and now - state.started > limits.startup_seconds:
        return f"training had not begun after {limits.startup_seconds:g} s (limits.startupDeadlineSeconds)"
    return ""


def _hung(state: State, *, now: float, limits: Limits) -> Decision:
    culprit = next(name for name in _attempt(state) if state.members[name].saves)
    what = f"no step has finished for {limits.hang_seconds:g} s (limits.hangTimeoutSeconds)"
    state = _counted(replace(state, moved=inf), OnExit.RESTART, now=now, limits=limits)
    return _lost(state, culprit, what, now=now, limits=limits)


def _failed(state: State, reason: str, *, culprit: str, now: float, exit_code: int = EXIT_FAILED) -> Decision:
    outcome = Outcome(ending=Ending.FAILED, reason=reason, culprit=culprit, exit_code=exit_code)
    return _end(state, outcome, now=now)


def _stopped(state: State, remark: str, *, now: float) -> Decision:
    outcome = Outcome(ending=Ending.STOPPED, reason=f"stopped on request{remark}", exit_code=EXIT_STOPPED)
    return _end(state, outcome, now=now)


def _end(state: State, outcome: Outcome, *, now: float) -> Decision:
    """Everything stops, for good."""
    state = _withdraw_waiting(replace(state, outcome=outcome))
    saving = [name for name, member in state.members.items() if member.saves]
    state, first = _stop(state, saving, grace=SAVE_SECONDS, now=now)
    state, rest = _stop(state, state.members, grace=STOP_SECONDS, now=now)
    return state, (*first, *rest)


def _stop(state: State, names: Iterable[str], *, grace: float, now: float) -> Decision:
    running = [name for name in names if state.members[name].life is Life.RUNNING]
    asked = {name: replace(state.members[name], life=Life.STOPPING, due=now + grace) for name in running}
    return _with(state, asked), tuple(map(Stop, running))


def _withdraw_waiting(state: State) -> State:
    waiting = {name: member for name, member in state.members.items() if member.life is Life.WAITING}
    return _with(state, {name: replace(member, life=Life.LOST) for name, member in waiting.items()})


def _attempt(state: State) -> tuple[str, ...]:
    return tuple(name for name, member in state.members.items() if member.rule is Rule.ATTEMPT)


def _with(state: State, changed: Mapping[str, Member]) -> State:
    return replace(state, members=MappingProxyType({**state.members, **changed}))
