"""A few answers of a step, token by token, for the report's microscope.

Two groups, four completions of each, right and wrong ones if there are both.  Entropy and probability are those of the
policy that started the step; whether a token was clipped, and its k3, are what its last update found.
"""

from __future__ import annotations

from itertools import islice

import msgspec
from torch import Tensor

from rlvr_trainer.learner.step import Stage
from rlvr_trainer.samples import ScoredGroup, StepFacts

_GROUPS = 2
_COMPLETIONS = 4


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """One completion token."""

    id: int
    entropy: float
    """Nats."""
    selected: bool
    """Whether it received a policy gradient."""
    clipped: bool
    probability: float
    advantage: float
    k3: float | None
    """Nats; absent without a reference policy."""


class AnswerView(msgspec.Struct, frozen=True, kw_only=True):
    """One completion and its verdict."""

    question: str
    outcome: str
    reward: float
    """Shaped."""
    advantage: float
    tokens: tuple[TokenView, ...]


class Magnified(msgspec.Struct, frozen=True, kw_only=True):
    """The file `microscope/step-NNNNNN.json`."""

    step: int
    answers: tuple[AnswerView, ...]


def magnify(facts: StepFacts, stage: Stage) -> Magnified:
    """What happened to a few answers of the step."""
    answers = []
    for group, scored in enumerate(facts.groups[:_GROUPS]):
        for index in telling(scored):
            row = group * stage.batch.group_size + index
            answers.append(_answer(scored, index, row=row, stage=stage))
    return Magnified(step=facts.step, answers=tuple(answers))


def telling(scored: ScoredGroup) -> list[int]:
    """Completions worth looking at: half right and half wrong where the group has them, in their order."""
    right = [index for index, verdict in enumerate(scored.verdicts) if verdict.is_correct]
    wrong = [index for index, verdict in enumerate(scored.verdicts) if not verdict.is_correct]
    num_right = max(_COMPLETIONS // 2, _COMPLETIONS - len(wrong))
    chosen = list(islice(right, num_right))
    return sorted(chosen + wrong[: _COMPLETIONS - len(chosen)])


def _answer(scored: ScoredGroup, index: int, *, row: int, stage: Stage) -> AnswerView:
    group, completion = divmod(row, stage.batch.group_size)
    return AnswerView(
        question=scored.group.prompt.text,
        outcome=scored.verdicts[index].outcome.value,
        reward=float(stage.batch.reward_PG[group, completion]),
        advantage=float(stage.batch.advantage_B1[row]),
        tokens=_tokens(scored.group.completions[index].token_ids.tolist(), row=row, stage=stage),
    )


def _tokens(ids: list[int], *, row: int, stage: Stage) -> tuple[TokenView, ...]:
    def of(values_BT: Tensor) -> list[float]:
        values: list[float] = values_BT[row, : len(ids)].tolist()
        return values

    advantage, trace = float(stage.batch.advantage_B1[row]), stage.trace
    columns = zip(
        ids,
        of(stage.start.entropy_BT),
        of(stage.choice.selected_BT),
        of(trace.clipped_BT),
        of(stage.start.logprob_BT.exp()),
        [None] * len(ids) if trace.k3_BT is None else of(trace.k3_BT),
        strict=True,
    )
    return tuple(
        TokenView(
            id=token,
            entropy=entropy,
            selected=bool(selected),
            clipped=bool(clipped),
            probability=probability,
            advantage=advantage,
            k3=k3,
        )
        for token, entropy, selected, clipped, probability, k3 in columns
    )
