"""The procedural task's own scorer, from reasoning-gym.

The answer is what stands between the last <answer> and </answer>, else the whole completion.  A scorer is trusted for
a task only if it accepts the task's own reference answer: metadata that travelled as JSON is not what every one of
them expects.  Tasks without a reference (several right answers) cannot be checked that way.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Final

from reasoning_gym.factory import DATASETS, get_score_answer_fn

from rlvr_api.reward import ReasoningGymVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Task, Verdict
from rlvr_trainer.verifiers.exact import answer_after
from rlvr_trainer.verifiers.verdicts import Verifier, correct, malformed, shown, wrong

Score = Callable[[str, dict[str, Any]], float]

UNTRUSTED: Final = frozenset({"game_of_life_halting"})
"""Scorers that call any text right (reasoning-gym 0.1.25)."""
_RIGHT: Final = 0.99


def make(_spec: ReasoningGymVerifier) -> Verifier:
    """Score with the task that a prompt came from."""
    entry_of = functools.partial(_trusted_entry, memo={})

    def verify(task: Task, text: str) -> Verdict:
        score, entry = _scorer(task.source), entry_of(task)
        answer = final_answer(text)
        try:
            value = min(max(float(score(answer, entry)), 0.0), 1.0)
        except Exception as problem:  # over a hundred third-party scorers, each with errors of its own
            if task.answer is None:  # then nothing shows that the scorer works at all
                raise
            return malformed(f"{task.source} cannot read {shown(answer)}: {type(problem).__name__}: {problem}")
        return correct() if value >= _RIGHT else wrong(f"{shown(answer)} scores {value:.3g}", score=value)

    return verify


def final_answer(text: str) -> str:
    """The part of a completion that is the answer."""
    tagged = answer_after(text, marker="<answer>")
    return (text if tagged is None else tagged.partition("</answer>")[0]).strip()


@functools.lru_cache(maxsize=128)
def _scorer(source: str) -> Score:
    if source in UNTRUSTED:
        raise InvalidInput(f"the scorer of {source} calls wrong answers right. Choose another task.")
    if source not in DATASETS:
        raise InvalidInput(f"{source!r} is no task of reasoning-gym: this verifier needs procedural data.")
    score: Score = get_score_answer_fn(source)
    return score


def _trusted_entry(task: Task, *, memo: dict[str, tuple[Task, dict[str, Any]]]) -> dict[str, Any]:
    """What the scorer is told about the task; the newest task is remembered, because completions come in groups."""
    known = memo.get(task.source)
    if known is None or known[0] != task:
        memo[task.source] = (task, _entry_of(task))
    return memo[task.source][1]


def _entry_of(task: Task) -> dict[str, Any]:
    entries = [{"answer": task.answer, "metadata": given} for given in (task.metadata, _with_tuples(task.metadata))]
    if task.answer is None:
        return entries[0]
    for entry in entries:
        if _scorer(task.source)(task.answer, entry) >= _RIGHT:
            return entry
    raise InvalidInput(f"the scorer of {task.source} does not accept its own reference {shown(task.answer)}.")


def _with_tuples(value: Any) -> Any:
    """JSON values with tuples for lists, as the generators make them."""
    if isinstance(value, dict):
        return {key: _with_tuples(item) for key, item in value.items()}
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value
