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

    @property
    def num_judged(self) -> int:
        """Completions whose verdict is no error."""
        return sum(verdict.score is not None for verdict in self.verdicts)


class Ledger(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which positions of the prompt stream are used up, and how many by fate; the fate of each is in the history."""

    watermark: int = 0
    """Every position below it is used up, and it is not."""
    beyond: tuple[int, ...] = ()
    """Positions used up out of order, ascending, all above the watermark."""
    counts: dict[Fate, int] = {}
    """Positions used up, by fate; they add up to `watermark` and `beyond`."""


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
    pass_at: dict[int, float] = {}
    """k -> chance that one of k completions of a prompt is correct, for k above 1."""


class Monitoring(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the answers to the monitor prompts said about lengths (Laser-D, 2505.15612 section 5.2)."""

    step: int
    """Finished steps of the policy that answered."""
    length_targets: dict[str, int]
    """Target length in tokens by difficulty: easy, medium, hard."""
    num_prompts: dict[str, int]
    """Monitor prompts by difficulty."""
    accuracy: float | None
    """Correct share of what could be judged; absent when nothing could."""
    mean_tokens: float | None
    num_errors: int
    """Completions that could not be judged; they have no part in the rest."""


class CoordinatorState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the coordinator must remember across attempts; stored inside the checkpoint of the step it belongs to."""

    ledger: Ledger = Ledger()
    evaluations: tuple[Evaluation, ...] = ()
    monitoring: Monitoring | None = None
    """The newest; absent unless the length reward follows monitor prompts."""
    generated_tokens: int = 0
    """Completion tokens sampled for training so far, dropped groups included."""
    wall_seconds: float = 0.0
    """Time spent in committed steps, summed over attempts."""

    @property
    def length_targets(self) -> dict[str, int]:
        """Target length in tokens by difficulty; empty unless the length reward follows monitor prompts."""
        return self.monitoring.length_targets if self.monitoring is not None else {}


class Dropped(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A group that was used up without being trained."""

    position: int
    fate: Fate
    num_correct: int
    num_judged: int
    """Completions whose verdict is no error."""


class StepFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel", eq=False):
    """Everything the learner needs for one step."""

    step: int
    policy_step: int
    """Finished steps of the newest policy when the batch was closed."""
    groups: tuple[ScoredGroup, ...]
    dropped: tuple[Dropped, ...]
    """Groups used up since the previous step without being trained, by position."""
    num_judged: int
    """Completions judged since the previous step, those of dropped groups included."""
    num_correct: int
    """How many of them are correct."""
    produce_seconds: float
    """From the previous batch's hand-over to this one's."""
    state: CoordinatorState


class Fork(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A token at which a policy is uncertain: where an answer may take another way."""

    token: int
    """Its id."""
    count: int
    """How often it occurs in the step's completions."""
    entropy: float
    """Mean over those places, in nats."""


class StepReport(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one optimizer step found; a line of the run's history."""

    step: int
    metrics: dict[str, float]
    """By metric name (metrics.py), with labels as Prometheus prints them: `name{class="high"}`.  A value that could not
    be measured is absent, never zero."""
    trained: tuple[tuple[int, int], ...]
    """Positions [start, end) of the groups it was trained on, ascending."""
    dropped: tuple[tuple[int, int, Fate], ...] = ()
    """Positions [start, end) used up on the way without being trained, and why, ascending."""
    length_targets: dict[str, int] = {}
    """Target length in tokens by difficulty under which it was rewarded; empty without."""
    forks: tuple[Fork, ...] = ()
    """The 20 frequent tokens with the highest mean entropy, highest first."""
    finished_at: float
    """Unix seconds."""
