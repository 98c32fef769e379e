"""Verifiers: what makes a completion right.  Several are added up by weight."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from rlvr_api.base import Model, Rule, exactly_one_of
from rlvr_api.quantities import (
    IMPORT_PATTERN,
    LETTERS_PATTERN,
    NonNegative,
    Pattern,
    PodTemplate,
    Positive,
    Url,
    Word,
)


class ExactVerifier(Model):
    """The answer must be the reference answer, character by character."""

    answer_after: Pattern | None = None
    """The answer is what follows the last occurrence of this text.  Default: the whole completion."""
    strip: bool = True
    """Ignore white space around the answer."""
    ignore_case: bool = False
    """Treat capital and small letters alike."""


class MathVerifier(Model):
    """The answer must be mathematically equal to the reference (math-verify): the last boxed or final expression."""


class MultipleChoiceVerifier(Model):
    """The answer must name the right letter."""

    letters: Annotated[str, Field(min_length=2, max_length=26, pattern=LETTERS_PATTERN)] = "ABCD"
    """The letters to choose from."""


class CodeVerifier(Model):
    """The last code block must pass the tests of the record."""

    tests_field: Word = "tests"
    """Field of the record that holds the tests."""
    max_tests: Positive = 16
    """Run at most so many tests of a record."""


class FormatVerifier(Model):
    """The completion must match a pattern from beginning to end."""

    pattern: Pattern
    """Regular expression; `.` matches line ends too."""


class ReasoningGymVerifier(Model):
    """The procedural task's own scorer; needs procedural data."""


class CustomVerifier(Model):
    """Your own Python function."""

    import_path: Annotated[str, Field(pattern=IMPORT_PATTERN, max_length=253)]
    """package.module:function."""


class HttpVerifier(Model):
    """A service that answers like ours."""

    url: Url
    """Where to POST items to score."""


class VerifierSpec(Model):
    """One verifier and its weight."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one_of("exact", "math", "multiple_choice", "code", "format", "reasoning_gym", "custom", "http"),
    )

    exact: ExactVerifier | None = None
    """Compare text."""
    math: MathVerifier | None = None
    """Compare mathematics."""
    multiple_choice: MultipleChoiceVerifier | None = None
    """Compare letters."""
    code: CodeVerifier | None = None
    """Run the record's tests."""
    format: FormatVerifier | None = None
    """Match a pattern."""
    reasoning_gym: ReasoningGymVerifier | None = None
    """The procedural task's own scorer."""
    custom: CustomVerifier | None = None
    """Your own Python function."""
    http: HttpVerifier | None = None
    """Your own service."""
    weight: NonNegative = 1.0
    """Share of this verifier's score in the sum; weights are divided by their total."""


class RewardSpec(Model):
    """The service that judges completions."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.verifiers.exists(verifier, verifier.weight > 0.0)",
            message="at least one verifier needs a weight above 0",
            holds=lambda reward: any(verifier.weight > 0 for verifier in reward.verifiers),
            field="verifiers",
        ),
    )

    replicas: Annotated[int, Field(ge=1, le=1024)] = 1
    """Wanted replicas.  May be changed while the job runs."""
    verifiers: Annotated[tuple[VerifierSpec, ...], Field(strict=False, min_length=1, max_length=16)]
    """What makes a completion right."""
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """A verifier that takes longer is killed; the verdict is an error, never a zero."""
    workers: Annotated[int, Field(ge=1, le=256)] = 2
    """Child processes per replica."""
    template: PodTemplate | None = None
    """Pod template of a replica."""
    runtime_class_name: Word | None = None
    """RuntimeClass of the reward pods, such as gVisor's, for model-written code."""
