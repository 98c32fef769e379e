"""The policy to train: where its weights come from and how they are held."""

from __future__ import annotations

from typing import ClassVar, Literal

from rlvr_api.base import Model, Rule, exactly_one_of
from rlvr_api.quantities import Location, Positive, Word


class HubModel(Model):
    """A model of the Hugging Face hub."""

    repository: Word
    """owner/name."""
    revision: Word = "main"
    """Branch, tag or commit.  A commit makes the run repeatable."""


class ModelSpec(Model):
    """The base model."""

    RULES: ClassVar[tuple[Rule, ...]] = (exactly_one_of("builtin", "path", "hub"),)

    builtin: Word | None = None
    """A model that ships with the trainer, such as `arithmetic`: needs no download."""
    path: Location | None = None
    """A Hugging Face model directory: a local path, file:// or s3:// URI."""
    hub: HubModel | None = None
    """A model of the Hugging Face hub."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Precision of weights and activations.  float32 keeps sampling and training log-probabilities equal; bfloat16
    halves memory and wants algorithm.importanceSampling."""
    max_context: Positive | None = None
    """Longest prompt plus completion, in tokens.  Default: the model's own limit."""
