"""The completion must match a pattern from beginning to end, such as `<think>.*</think><answer>.*</answer>`.

What does not match is malformed (truncated, when the token limit cut it off): the pattern says how an answer is
written, not whether it is right.  A pattern that backtracks for ever costs its worker at the deadline, as any verifier.
"""

from __future__ import annotations

import re

from rlvr_api.reward import FormatVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Task, Verdict
from rlvr_trainer.verifiers.verdicts import Verifier, correct, malformed, shown


def make(spec: FormatVerifier) -> Verifier:
    """Match whole completions; InvalidInput when the pattern is none."""
    try:
        pattern = re.compile(spec.pattern, re.DOTALL)
    except re.error as problem:
        raise InvalidInput(
            f"format.pattern {shown(spec.pattern)} is not a regular expression: {problem}. Correct it."
        ) from problem

    def verify(_task: Task, text: str) -> Verdict:
        if pattern.fullmatch(text):
            return correct()
        return malformed(f"{shown(text)} does not match {shown(spec.pattern)}")

    return verify
