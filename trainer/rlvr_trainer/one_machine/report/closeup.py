"""The parts of a report that speak in tokens: answers under the microscope, and the words at which the policy forks.

Both need the model's tokenizer; without it the report does without them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from rlvr_api import ModelSpec
from rlvr_trainer.data.tokens import open_tokens
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.models.folder import model_folder
from rlvr_trainer.one_machine.report.microscope import Decode, View, read_slides, views, visible
from rlvr_trainer.samples import StepReport

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A token at which the policy is often undecided."""

    text: str
    count: int
    """How often the step has it."""
    entropy: float
    """Mean, nats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The forking words of one step, the least certain first."""

    step: int
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseUp:
    """What the page shows of single tokens."""

    views: tuple[View, ...] = ()
    words: tuple[Words, ...] = ()


NOTHING: Final = CloseUp()


def read_closeup(work: Path, reports: Sequence[StepReport], *, model: ModelSpec) -> CloseUp:
    """Everything that the run in `work` left to look at."""
    try:
        tokenizer = open_tokens(model_folder(model)).tokenizer
    except InvalidInput as error:
        logger.warning("the report does without its microscope: %s", error)
        return NOTHING
    decode: Decode = partial(tokenizer.decode, skip_special_tokens=False)
    return CloseUp(views=views(read_slides(work), decode), words=forking_words(reports, decode))


def forking_words(reports: Sequence[StepReport], decode: Decode) -> tuple[Words, ...]:
    """Of the first and the last step that have any."""
    known = [report for report in reports if report.forks]
    return tuple(
        Words(
            step=report.step,
            words=tuple(
                Word(text=visible(decode([fork.token])), count=fork.count, entropy=fork.entropy)
                for fork in report.forks
            ),
        )
        for report in {report.step: report for report in (*known[:1], *known[-1:])}.values()
    )
