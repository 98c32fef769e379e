"""Several verifiers, one verdict.

    score = sum of weight * score / sum of weights        outcome = the first verifier's (it grades)

An error of any verifier makes the whole an error without a score.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from rlvr_trainer.samples import Finish, Outcome, Task, Verdict
from rlvr_trainer.verifiers.verdicts import Verifier, error

_LONGEST_REASON: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """A verifier, its name in metrics and reasons, and its share of the score."""

    kind: str
    verifier: Verifier
    weight: float


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What one verifier said and how long it took."""

    kind: str
    outcome: Outcome
    seconds: float


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict and the parts it was made of."""

    verdict: Verdict
    parts: tuple[Part, ...]


def judge(verifiers: Sequence[Weighted], task: Task, text: str, *, finish: Finish) -> Judgement:
    """Ask every verifier; never raises an Exception."""
    verdicts, parts = [], []
    for each in verifiers:
        started = time.perf_counter()
        verdict = grade(_ask(each.verifier, task, text), finish=finish)
        verdicts.append(verdict)
        parts.append(Part(kind=each.kind, outcome=verdict.outcome, seconds=time.perf_counter() - started))
    return Judgement(verdict=combine(verifiers, verdicts), parts=tuple(parts))


def grade(verdict: Verdict, *, finish: Finish) -> Verdict:
    """A completion without a readable answer that the token limit cut off is truncated rather than malformed."""
    if verdict.outcome is Outcome.MALFORMED and finish is Finish.LENGTH:
        return msgspec.structs.replace(verdict, outcome=Outcome.TRUNCATED)
    return verdict


def combine(verifiers: Sequence[Weighted], verdicts: Sequence[Verdict]) -> Verdict:
    """One verdict from one per verifier, in the same order; the weights' sum is above 0."""
    reason = "; ".join(
        f"{each.kind}: {verdict.reason}" if len(verdicts) > 1 else verdict.reason
        for each, verdict in zip(verifiers, verdicts, strict=True)
        if verdict.reason
    )[:_LONGEST_REASON]
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    if len(scores) < len(verdicts):
        return error(reason)
    weights = [each.weight for each in verifiers]
    score = sum(weight * score for weight, score in zip(weights, scores, strict=True)) / sum(weights)
    return Verdict(outcome=verdicts[0].outcome, score=score, reason=reason)


def _ask(verifier: Verifier, task: Task, text: str) -> Verdict:
    try:
        return verifier(task, text)
    except Exception as problem:  # noqa: BLE001 - verifiers are libraries and users' code: any failure is the judge's
        return error(f"the verifier failed: {type(problem).__name__}: {problem}")
