"""The answer must be the reference answer, character by character."""

from __future__ import annotations

from rlvr_api.reward import ExactVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Task, Verdict
from rlvr_trainer.verifiers.verdicts import Verifier, correct, malformed, shown, wrong


def make(spec: ExactVerifier) -> Verifier:
    """Compare what follows the last `answer_after` (or the whole completion) with the reference."""

    def normal(text: str) -> str:
        stripped = text.strip() if spec.strip else text
        return stripped.casefold() if spec.ignore_case else stripped

    def verify(task: Task, text: str) -> Verdict:
        if task.answer is None:
            raise InvalidInput(f"a prompt of {task.source!r} has no reference answer to compare with")
        answer = text if spec.answer_after is None else answer_after(text, marker=spec.answer_after)
        if answer is None:
            return malformed(f"there is no {spec.answer_after!r} before the answer")
        if normal(answer) == normal(task.answer):
            return correct()
        return wrong(f"{shown(normal(answer))} is not {shown(normal(task.answer))}")

    return verify


def answer_after(text: str, *, marker: str) -> str | None:
    """What follows the last occurrence of `marker`; None without one."""
    _, found, answer = text.rpartition(marker)
    return answer if found else None
