"""The answer must be mathematically equal to the reference.

The answer is the last boxed expression, else what follows `####` or "the answer is", else the last number or formula.
Its plain form is compared first (answers.py); where that cannot tell, math-verify does.  math-verify's own time limits
are off: they need signals, and a completion that takes too long is the worker's deadline to end.  Equality is lenient:
units are ignored, and 50% is 0.5 and 50.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, Final

from math_verify import parse, verify

from rlvr_api.reward import MathVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Task, Verdict
from rlvr_trainer.verifiers.answers import LONGEST, hedges, is_tame, is_words, same
from rlvr_trainer.verifiers.boxes import marked_answer, told_answer
from rlvr_trainer.verifiers.verdicts import Verifier, correct, malformed, shown, wrong

_LONGEST_END: Final = 20_000
"""Characters at the end of a completion that are looked at for an answer that is not marked."""


def make(_spec: MathVerifier) -> Verifier:
    """The verifier, after a check that the library works here: a broken one would score everything zero."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    if not _equal(_reference("1/2"), _read("so it is \\boxed{0.5}")):
        raise InvalidInput("math-verify does not find 1/2 equal to 0.5 here. Reinstall 'rlvr-operator[reward]'.")
    return judge_mathematics


def judge_mathematics(task: Task, text: str) -> Verdict:
    """Whether the answer of `text` equals the reference answer."""
    if task.answer is None:
        raise InvalidInput(f"a prompt of {task.source!r} has no reference answer to compare with")
    marked = marked_answer(text)
    if marked is not None and not is_tame(marked):
        return malformed(f"the answer has more than {LONGEST} characters or is nested too deep: {shown(marked)}")
    found = told_answer(text) if marked is None else marked
    decided = None if found is None else same(found, task.answer)
    if decided is True:
        return correct()
    if found and (is_words(task.answer) or (decided is False and marked is not None)):
        return wrong(f"{shown(found)} is not {shown(task.answer)}")
    if found and hedges(found, task.answer):
        return wrong(f"{shown(found)} offers a choice where {shown(task.answer)} is wanted")
    if is_words(task.answer):
        return malformed("there is no answer")
    return judge_algebra(task.answer, text if marked is None else f"\\boxed{{{marked}}}")


def judge_algebra(answer: str, text: str) -> Verdict:
    """math-verify's opinion on the whole of `text`."""
    reference = _reference(answer)
    try:
        found = _read(text)
    except Exception as problem:  # noqa: BLE001 - what a parser makes of nonsense; the reference went through it
        return malformed(f"cannot be read as mathematics: {type(problem).__name__}: {problem}")
    if not found:
        return malformed("there is no mathematical expression")
    if _equal(reference, found):
        return correct()
    return wrong(f"{shown(str(found[-1]))} is not {shown(answer)}")


@functools.lru_cache(maxsize=1024)
def _reference(answer: str) -> tuple[Any, ...]:
    """A reference answer, read as LaTeX; a failure here is the judge's."""
    parsed = _read(f"\\boxed{{{answer}}}")
    if not parsed:
        raise InvalidInput(f"the reference answer {shown(answer)} cannot be read as mathematics")
    return parsed


def _read(text: str) -> tuple[Any, ...]:
    """math-verify's readings of the last boxed expression or, without one, of the end of the text."""
    _, box, rest = text[-_LONGEST_END:].rpartition("\\boxed")
    # math-verify joins boxes that stand close together, and overlooks an escaped per cent sign in prose.
    last = f"{box}{rest}".replace("\\%", "%")
    return tuple(parse(last, parsing_timeout=None, raise_on_error=True))


def _equal(reference: tuple[Any, ...], found: tuple[Any, ...]) -> bool:
    return bool(verify(list(reference), list(found), timeout_seconds=None))
