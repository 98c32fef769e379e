"""The facts that travel: what was asked, what was answered, how it was judged.

Records only, frozen.  Opinions (rewards shaped, advantages, masks) are never stored here; the learner derives them, so
a step can be replayed under another recipe.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.int32]
Logprobs = npt.NDArray[np.float32]


class Finish(enum.StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    """The policy wrote an end token."""
    LENGTH = "length"
    """The token limit cut it off."""


class Outcome(enum.StrEnum):
    """What the judge found."""

    CORRECT = "correct"
    WRONG = "wrong"
    MALFORMED = "malformed"
    """No answer could be read."""
    TRUNCATED = "truncated"
    """Cut off before an answer could be read."""
    ERROR = "error"
    """The judge itself failed; this is not a zero."""


class Fate(enum.StrEnum):
    """What became of a group."""

    TRAINED = "trained"
    FLAT = "flat"
    """All completions right or all wrong: no signal under a group baseline."""
    ERROR = "error"
    """At least one verdict is an error."""


class Task(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a verifier needs to know about a prompt."""

    answer: str | None = None
    source: str = ""
    """Name of the procedural task, file or data set it came from."""
    metadata: dict[str, Any] = {}


class Prompt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One question, in order of the stream."""

    position: int
    """Place in the endless stream of prompts; the identity that the ledger counts."""
    text: str
    token_ids: tuple[int, ...]
    task: Task


class Span(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Tokens [start, end) were sampled by one policy."""

    step: int
    """Finished training steps of that policy; 0 is the base model."""
    start: int
    end: int


class Completion(msgspec.Struct, frozen=True, kw_only=True, rename="camel", eq=False):
    """One sampled answer, exactly as the engine produced it.

    Example: token_ids [7, 3, 1], logprobs [-0.1, -2.3, -0.4], spans (Span(step=4, start=0, end=3),), finish STOP.
    """

    token_ids: Tokens
    """[T] int32, with the end token when finish is STOP."""
    logprobs: Logprobs
    """[T] float32: log-probability of each token under the policy and temperature that sampled it."""
    spans: tuple[Span, ...]
    finish: Finish
    text: str


class Group(msgspec.Struct, frozen=True, kw_only=True, rename="camel", eq=False):
    """All completions of one prompt."""

    prompt: Prompt
    completions: tuple[Completion, ...]

    @property
    def oldest_step(self) -> int:
        """Finished steps of the oldest policy that wrote any of its tokens."""
        return min(span.step for completion in self.completions for span in completion.spans)


class Verdict(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One completion, judged."""

    outcome: Outcome
    score: float | None
    """Base reward; absent exactly when the outcome is an error."""
    reason: str = ""

    @property
    def is_correct(self) -> bool:
        return self.outcome is Outcome.CORRECT


class ScoredGroup(msgspec.Struct, frozen=True, kw_only=True, rename="camel", eq=False):
    """A group and one verdict per completion, in the same order."""

    group: Group
    verdicts: tuple[Verdict, ...]

    @property
    def num_correct(self) -> int:
        return sum(verdict.is_correct for verdict in self.verdicts)


class Interval(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Positions [start, end) share a fate."""

    start: int
    end: int
    fate: Fate


class Ledger(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which positions of the prompt stream are used up, and how; sorted, disjoint, merged."""

    intervals: tuple[Interval, ...] = ()


class Transcript(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One evaluated answer, kept for the report."""

    question: str
    expected: str | None
    completion: str
    outcome: Outcome


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Accuracy of one policy on the held-out prompts."""

    step: int
    accuracy: float
    num_completions: int
    """Judged without error."""
    num_errors: int
    mean_tokens: float
    transcripts: tuple[Transcript, ...]


class CoordinatorState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the coordinator must remember across attempts; stored inside the checkpoint of the step it belongs to."""

    ledger: Ledger = Ledger()
    evaluations: tuple[Evaluation, ...] = ()
    generated_tokens: int = 0
    """Completion tokens sampled for training so far, dropped groups included."""
    wall_seconds: float = 0.0
    """Time spent in committed steps, summed over attempts."""


class StepFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel", eq=False):
    """Everything the learner needs for one step."""

    step: int
    policy_step: int
    """Finished steps of the newest policy when the batch was closed."""
    groups: tuple[ScoredGroup, ...]
    dropped: dict[Fate, int]
    """Groups consumed since the previous step without being trained."""
    num_judged: int
    """Completions judged since the previous step, those of dropped groups included."""
    num_correct: int
    """How many of them are correct."""
    produce_seconds: float
    """From the previous batch's hand-over to this one's."""
    state: CoordinatorState


class StepReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one optimizer step found; a line of the run's history."""

    step: int
    metrics: dict[str, float]
    """By metric name (metrics.py); a value that could not be measured is absent, never zero."""
    trained: tuple[tuple[int, int], ...]
    """Positions [start, end) of the groups it was trained on, ascending."""
    finished_at: float
    """Unix seconds."""
