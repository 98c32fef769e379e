"""Deadlines that end a job.  All are computed from recorded times: an operator that restarts forgets none."""

from __future__ import annotations

from rlvr_operator.lifecycle.explain import trouble
from rlvr_operator.lifecycle.facts import Facts
from rlvr_operator.lifecycle.intent import Ending, Intent
from rlvr_operator.observed import Role
from rlvr_operator.timestamps import unix_or_none

_ROLES: tuple[Role, ...] = ("learner", "reward", "rollout")


def too_long(facts: Facts) -> Intent | None:
    """limits.activeDeadlineSeconds."""
    until = active_until(facts)
    if until is None or facts.now < until:
        return None
    seconds = facts.spec.limits.active_deadline_seconds
    return _failed("DeadlineExceeded", f"not finished after running for {seconds} s (limits.activeDeadlineSeconds)")


def too_slow_a_start(facts: Facts) -> Intent | None:
    """limits.startupDeadlineSeconds, for a job that has never trained; later attempts are restarted instead."""
    until = startup_until(facts)
    if until is None or facts.now < until or has_begun(facts):
        return None
    unready = [pod for role in _ROLES for pod in facts.present(role) if not pod.is_ready]
    why = f"; {trouble(unready[0])}" if unready else ""
    seconds = facts.spec.limits.startup_deadline_seconds
    return _failed(
        "StartupDeadlineExceeded",
        f"training had not begun {seconds} s after the pods were placed (limits.startupDeadlineSeconds){why}",
    )


def active_until(facts: Facts) -> float | None:
    """When the active deadline passes; None while the job does not run, for then the clock stands still."""
    limit, since = facts.spec.limits.active_deadline_seconds, unix_or_none(facts.status.active_since)
    return None if limit is None or since is None else since + limit - facts.status.active_seconds


def startup_until(facts: Facts) -> float | None:
    """When the base gang, wholly placed, should have been ready; None when it has been, or is not placed."""
    if facts.attempt.running_at is not None:
        return None
    placed = [base_placed_at(facts, role) for role in _ROLES]
    whole = [at for at in placed if at is not None]
    return max(whole) + facts.spec.limits.startup_deadline_seconds if len(whole) == len(placed) else None


def base_placed_at(facts: Facts, role: Role) -> float | None:
    """When the pods of the role that the job needs had a node; None before."""
    times = sorted(
        pod.placed_at or pod.created_at for pod in facts.present(role) if pod.is_placed and not pod.is_terminating
    )
    needed = facts.needed(role)
    return times[needed - 1] if len(times) >= needed else None


def has_begun(facts: Facts) -> bool:
    """Training has made a step, now or in an earlier attempt."""
    progress = facts.status.progress
    return facts.attempt.running_at is not None or (progress is not None and progress.step > 0)


def _failed(reason: str, message: str) -> Intent:
    return Intent(ending=Ending(kind="Failed", reason=reason, message=message))
