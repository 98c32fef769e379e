"""The shape of a verifier and of its answers."""

from __future__ import annotations

from collections.abc import Callable

from rlvr_trainer.samples import Outcome, Task, Verdict

Verifier = Callable[[Task, str], Verdict]
"""Judge a completion's text.  Raises only when the verifier itself fails; that becomes an error verdict."""


def correct() -> Verdict:
    return Verdict(outcome=Outcome.CORRECT, score=1.0)


def wrong(reason: str, *, score: float = 0.0) -> Verdict:
    return Verdict(outcome=Outcome.WRONG, score=score, reason=reason)


def malformed(reason: str) -> Verdict:
    """No answer could be read."""
    return Verdict(outcome=Outcome.MALFORMED, score=0.0, reason=reason)


def error(reason: str) -> Verdict:
    """The judge failed; this is not a zero."""
    return Verdict(outcome=Outcome.ERROR, score=None, reason=reason)


def shown(text: str, *, most: int = 60) -> str:
    """`text` in quotes, shortened for a reason."""
    return repr(text if len(text) <= most else f"{text[:most]}...")
