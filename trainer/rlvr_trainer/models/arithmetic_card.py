"""What was measured of an `arithmetic` base model, and the model card that says so.

Numbers appear only as measured; the accuracy of a style that never occurred is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class StyleScore:
    """How often a style of answer occurred, and how often it was right."""

    written: int
    right: int

    @classmethod
    def of(cls, hits: Sequence[bool]) -> Self:
        return cls(written=len(hits), right=sum(hits))

    @property
    def accuracy(self) -> float | None:
        return self.right / self.written if self.written else None


@dataclass(frozen=True)
class Measured:
    """Scores on held-out problems; `steps` and `direct` split the completions sampled at temperature 1."""

    steps: StyleScore
    direct: StyleScore
    greedy: float

    @property
    def problems(self) -> int:
        return self.steps.written + self.direct.written

    @property
    def sampled(self) -> float:
        return (self.steps.right + self.direct.right) / self.problems

    @property
    def steps_share(self) -> float:
        return self.steps.written / self.problems

    def sentence(self) -> str:
        return (
            f"accuracy {self.sampled:.3f} (greedy {self.greedy:.3f}), steps {self.steps_share:.1%} of completions, "
            f"right {percent(self.steps.accuracy)} with steps and {percent(self.direct.accuracy)} without"
        )


def percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.1%}"


CARD = """\
---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
---
# arithmetic

A {parameters:,} parameter Qwen2 (float32, one token per character) that adds five single digits.  It is a starting
point for reinforcement learning on a laptop, made for tests and first steps, and knows nothing else.

    prompt   4 - 8 - 6 + 4 - 8 =
    direct   #-14
    steps    4-8=-4;-4-6=-10;-10+4=-6;-6-8=-14#-14

What follows the last `#` is the answer.  The model is nearly always right when it writes the steps down, and seldom
does: that gap is set up on purpose by its last stage of training, and closing it is what a job learns.

| on {problems:,} held-out problems | |
|---|---|
| accuracy, temperature 1 | {sampled} |
| accuracy, greedy | {greedy} |
| completions that write steps | {share} |
| accuracy of those | {steps} |
| accuracy of direct answers | {direct} |

Made by supervised training on reasoning-gym's `chain_sum` (five terms, one digit), held-out problems left out:

    python -m rlvr_trainer.models.make_arithmetic OUT --seed {seed}

Licence: Apache-2.0.
"""


def model_card(measured: Measured, *, seed: int, parameters: int) -> str:
    return CARD.format(
        parameters=parameters,
        problems=measured.problems,
        sampled=percent(measured.sampled),
        greedy=percent(measured.greedy),
        share=percent(measured.steps_share),
        steps=percent(measured.steps.accuracy),
        direct=percent(measured.direct.accuracy),
        seed=seed,
    )
