"""A step's worth of judged groups to the facts that a learner needs, and to a file.

The facts carry the coordinator's state as it will be once the step is trained; the learner stores it inside that step's
checkpoint, which is what makes every prompt count exactly once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from rlvr_trainer.coordinator.ledger import record
from rlvr_trainer.coordinator.produce import Produced
from rlvr_trainer.samples import CoordinatorState, Dropped, Evaluation, Fate, Outcome, StepFacts
from rlvr_trainer.wire import pack

KEPT_BATCHES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """The circumstances under which a batch was closed."""

    step: int
    """The step that will train it, from 1 on."""
    policy_step: int
    """Finished steps of the newest policy."""
    seconds: float
    """Since the previous batch was handed over."""


def close(produced: Sequence[Produced], *, closing: Closing, state: CoordinatorState) -> StepFacts:
    """The facts of a step; `state` is the coordinator's before it."""
    judged = [verdict for one in produced for verdict in one.scored.verdicts if verdict.outcome is not Outcome.ERROR]
    fates = {one.scored.group.prompt.position: one.fate for one in produced}
    return StepFacts(
        step=closing.step,
        policy_step=closing.policy_step,
        groups=tuple(one.scored for one in produced if one.fate is Fate.TRAINED),
        dropped=tuple(_dropped(one) for one in produced if one.fate is not Fate.TRAINED),
        num_judged=len(judged),
        num_correct=sum(verdict.is_correct for verdict in judged),
        produce_seconds=closing.seconds,
        state=msgspec.structs.replace(
            state,
            ledger=record(state.ledger, fates),
            generated_tokens=state.generated_tokens + num_tokens(produced),
            wall_seconds=state.wall_seconds + closing.seconds,
        ),
    )


def _dropped(one: Produced) -> Dropped:
    return Dropped(
        position=one.scored.group.prompt.position,
        fate=one.fate,
        num_correct=one.scored.num_correct,
        num_judged=one.scored.num_judged,
    )


def num_tokens(produced: Sequence[Produced]) -> int:
    """Completion tokens of the groups, dropped ones included."""
    return sum(len(completion.token_ids) for one in produced for completion in one.scored.group.completions)


def with_evaluation(state: CoordinatorState, evaluation: Evaluation) -> CoordinatorState:
    """The state with one more evaluation; only the first and the newest keep their transcripts."""
    earlier = [
        kept if index == 0 else msgspec.structs.replace(kept, transcripts=())
        for index, kept in enumerate(state.evaluations)
    ]
    return msgspec.structs.replace(state, evaluations=(*earlier, evaluation))


def hand_over(facts: StepFacts, *, folder: Path) -> None:
    """Write the batch where the learner looks for it, whole or not at all, and forget old ones."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{facts.step:06d}.facts"
    draft = path.with_suffix(".tmp")
    draft.write_bytes(pack(facts))
    draft.replace(path)
    for old in sorted(folder.glob("*.facts"))[:-KEPT_BATCHES]:
        old.unlink()
