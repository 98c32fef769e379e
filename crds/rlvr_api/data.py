"""Prompts: where they come from, how a record becomes text, and which are held out."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from rlvr_api.base import Model, Rule, exactly_one_of
from rlvr_api.quantities import Count, FreeForm, Location, Pattern, Positive, Seed, Temperature, Text, Word
from rlvr_api.rollout import ForkingTemperatures


class Procedural(Model):
    """Problems made by a generator of the reasoning-gym library."""

    task: Word
    """Name of the task, such as `chain_sum`."""
    params: FreeForm = Field(default_factory=dict)
    """The task's own parameters, such as `min_terms`."""
    size: Positive
    """How many different problems there are."""
    seed: Seed = 0
    """Another seed gives other problems: use one for training and one for evaluation."""


class FileSource(Model):
    """One file with one record per problem."""

    path: Location
    """A local path, file:// or s3:// URI."""
    format: Literal["auto", "jsonl", "parquet"] = "auto"
    """`auto` goes by the name's ending."""


class DirectorySource(Model):
    """A data set directory in Hugging Face layout."""

    path: Location
    """A local path, file:// or s3:// URI."""
    split: Word = "train"
    """Which split to read."""


class PlainTemplate(Model):
    """The prompt is text with fields filled in."""

    text: Text = "{question}"
    """`{question}` is the prompt field; any other `{name}` is a field of the record or of its metadata; double a
    brace that is meant literally."""


class ChatTemplate(Model):
    """The prompt is a conversation, rendered with the model's own chat template."""

    system: Text | None = None
    """System message; none is sent when absent."""
    user: Text = "{question}"
    """User message; fields are filled in as in a plain template."""


class Template(Model):
    """How a record becomes a prompt."""

    RULES: ClassVar[tuple[Rule, ...]] = (exactly_one_of("plain", "chat"),)

    plain: PlainTemplate | None = None
    """Text with fields filled in."""
    chat: ChatTemplate | None = None
    """The model's own chat template."""


class DataSource(Model):
    """A source of prompts with reference answers."""

    RULES: ClassVar[tuple[Rule, ...]] = (exactly_one_of("procedural", "file", "directory"),)

    procedural: Procedural | None = None
    """Generated problems; nothing to download."""
    file: FileSource | None = None
    """A JSONL or parquet file."""
    directory: DirectorySource | None = None
    """A data set directory."""
    prompt_field: Word = "question"
    """Field that holds the question."""
    answer_field: Word = "answer"
    """Field that holds the reference answer."""
    answer_after: Pattern | None = None
    """Keep what follows the last occurrence of this text in the answer field (`####` for GSM8K)."""
    limit: Positive | None = None
    """Use only the first so many records."""


class TrainData(DataSource):
    """Prompts to train on."""

    template: Template = Template(plain=PlainTemplate())
    """How a record becomes a prompt."""
    shuffle: bool = True
    """A new seeded order in every epoch."""


class EvalData(DataSource):
    """Held-out prompts."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        *DataSource.RULES,
        Rule(
            cel="!has(self.forking) || self.temperature == 1.0",
            message="temperature {temperature} is not used beside forking, which brings both temperatures: drop one of "
            "the two",
            holds=lambda held_out: held_out.forking is None or held_out.temperature == 1,
            field="temperature",
        ),
    )

    template: Template | None = None
    """How a record becomes a prompt.  Default: as in training."""
    every: Count = 0
    """Evaluate after every so many steps; 0 means only before the first and after the last."""
    completions: Positive = 1
    """Completions per prompt; accuracy is their mean, and several give pass@k too."""
    temperature: Temperature = 1.0
    """Sampling temperature; 0 takes the most likely token."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Nucleus sampling.  Default: as in training."""
    max_tokens: Positive | None = None
    """Longest answer.  Default: as in training."""
    forking: ForkingTemperatures | None = None
    """Sample with two temperatures instead.  Needs engine local."""


class DataSpec(Model):
    """Prompts to train on and prompts to measure with."""

    train: TrainData
    """Prompts to train on."""
    eval: EvalData | None = None
    """Held-out prompts.  Without them accuracy is only known on training prompts."""

    @property
    def eval_template(self) -> Template:
        """The template of held-out prompts."""
        return self.eval.template if self.eval and self.eval.template else self.train.template
