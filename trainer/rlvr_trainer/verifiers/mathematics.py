"""The answer must be mathematically equal to the reference, as math-verify sees it.

The answer is the last boxed expression, else the last number or formula.  math-verify's own time limits are off: they
need signals, and a completion that takes too long is the worker's deadline to end.  Equality is lenient (units are
ignored, 50% is 0.5 and 50); mixed numbers such as `3 1/2` are not understood.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from math_verify import parse, verify

from rlvr_api.reward import MathVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Task, Verdict
from rlvr_trainer.verifiers.verdicts import Verifier, correct, malformed, shown, wrong


def make(_spec: MathVerifier) -> Verifier:
    """The verifier, after a check that the library works here: a broken one would score everything zero."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    if not _equal(_reference("1/2"), _read("so it is \\boxed{0.5}")):
        raise InvalidInput("math-verify does not find 1/2 equal to 0.5 here. Reinstall 'rlvr-operator[reward]'.")
    return judge_mathematics


def judge_mathematics(task: Task, text: str) -> Verdict:
    """Whether the last expression of `text` equals the reference answer."""
    if task.answer is None:
        raise InvalidInput(f"a prompt of {task.source!r} has no reference answer to compare with")
    reference = _reference(task.answer)
    try:
        found = _read(text)
    except Exception as problem:  # noqa: BLE001 - what a parser makes of nonsense; the reference went through it
        return malformed(f"cannot be read as mathematics: {type(problem).__name__}: {problem}")
    if not found:
        return malformed("there is no mathematical expression")
    if _equal(reference, found):
        return correct()
    return wrong(f"{shown(str(found[-1]))} is not {shown(task.answer)}")


@functools.lru_cache(maxsize=1024)
def _reference(answer: str) -> tuple[Any, ...]:
    """A reference answer, read as LaTeX; a failure here is the judge's."""
    parsed = _read(f"\\boxed{{{answer}}}")
    if not parsed:
        raise InvalidInput(f"the reference answer {shown(answer)} cannot be read as mathematics")
    return parsed


def _read(text: str) -> tuple[Any, ...]:
    """math-verify's readings of the last boxed expression or, without one, of the whole text."""
    _, box, rest = text.rpartition("\\boxed")
    # math-verify joins boxes that stand close together, and overlooks an escaped per cent sign in prose.
    last = f"{box}{rest}".replace("\\%", "%")
    return tuple(parse(last, parsing_timeout=None, raise_on_error=True))


def _equal(reference: tuple[Any, ...], found: tuple[Any, ...]) -> bool:
    return bool(verify(list(reference), list(found), timeout_seconds=None))
