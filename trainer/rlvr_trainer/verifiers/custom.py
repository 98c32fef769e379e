"""A verifier of the user's own: `package.module:function`, called with a Task and the completion's text.

It returns a Verdict, or a number or truth value: 1 and above is correct, anything less is wrong with that score.
The module must be importable where the reward service runs.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

from rlvr_api.reward import CustomVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Outcome, Task, Verdict
from rlvr_trainer.verifiers.verdicts import Verifier, wrong


def make(spec: CustomVerifier) -> Verifier:
    """The function at the spec's import path; InvalidInput when there is none."""
    module_name, _, function_name = spec.import_path.partition(":")
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except Exception as problem:  # importing a user's module may raise anything
        raise InvalidInput(
            f"importPath {spec.import_path!r} cannot be imported ({type(problem).__name__}: {problem}). "
            "Install the module where rewards run, or correct the path."
        ) from problem
    if not callable(function):
        raise InvalidInput(f"importPath {spec.import_path!r} is a {type(function).__name__}, not a function.")

    def verify(task: Task, text: str) -> Verdict:
        return verdict_from(function(task, text))

    return verify


def verdict_from(answer: Any) -> Verdict:
    """A verdict from what a user's function returned; TypeError when it is neither a Verdict nor a finite number."""
    if isinstance(answer, Verdict):
        if (answer.score is None) != (answer.outcome is Outcome.ERROR):
            raise TypeError(f"it returned {answer!r}; an error has no score and everything else has one")
        return answer
    if not isinstance(answer, int | float) or not math.isfinite(answer):
        raise TypeError(f"it returned {answer!r}; it must return a Verdict or a finite number")
    if answer >= 1:
        return Verdict(outcome=Outcome.CORRECT, score=float(answer))
    return wrong(f"it scores {answer:.3g}", score=float(answer))
