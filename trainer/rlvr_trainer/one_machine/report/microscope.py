"""Sampled answers under the microscope: every token with what the learner knew and did about it.

Reads what the learner left (`microscope/step-NNNNNN.json` below the run's work folder) and gives tokens their text.
Pure but for reading; an answer is shown up to MAX_TOKENS tokens, and a file that cannot be read is left out.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import msgspec

from rlvr_trainer.errors import TrainerError
from rlvr_trainer.wire import from_json

logger = logging.getLogger(__name__)
MAX_TOKENS: Final = 400
LEVELS: Final = (0.01, 0.1, 0.3, 0.672, 1.2, 2.0)
"""Nats at which a deeper color begins; 0.672 is the 80th percentile of Qwen3-8B (2506.01939)."""
_CONTEXT: Final = 8
"""Tokens decoded before a token so that its text is what it adds to theirs."""
_INCOMPLETE: Final = "\N{REPLACEMENT CHARACTER}"
_WORDS: Final = {True: "yes", False: "no"}

Decode = Callable[[Sequence[int]], str]


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """One token as the learner left it."""

    id: int
    entropy: float | None
    """Nats, of the policy that began the step; absent when nobody looked."""
    selected: bool
    clipped: bool
    """In the step's last update."""
    probability: float
    advantage: float
    k3: float | None = None
    """Against the reference model; absent without one."""


class Specimen(msgspec.Struct, frozen=True, kw_only=True):
    """One answer as the learner left it."""

    question: str
    outcome: str
    reward: float
    advantage: float
    tokens: tuple[Sight, ...]


class Slide(msgspec.Struct, frozen=True, kw_only=True):
    """Some answers of one step."""

    step: int
    answers: tuple[Specimen, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A token, ready to be drawn."""

    text: str
    classes: str
    tip: str
    facts: tuple[str, ...]
    """Number, text, entropy, probability, advantage, k3, whether trained, whether clipped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """An answer, ready to be drawn."""

    outcome: str
    reward: float
    advantage: float
    cells: tuple[Cell, ...]
    hidden: int
    """Tokens beyond MAX_TOKENS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One step, ready to be drawn: questions with their answers."""

    step: int
    questions: tuple[tuple[str, tuple[Strip, ...]], ...]


def read_slides(work: Path) -> tuple[Slide, ...]:
    """The first and the last step that somebody looked at; a later attempt's account of a step replaces an earlier."""
    folders = (work, *sorted((work / "attempts").glob("a*"), key=lambda path: path.name))
    files = {path.name: path for folder in folders for path in (folder / "microscope").glob("step-*.json")}
    names = sorted(files)
    return tuple(_slides(files[name] for name in dict.fromkeys([*names[:1], *names[-1:]])))


def views(slides: Iterable[Slide], decode: Decode) -> tuple[View, ...]:
    """What the page shows of `slides`."""
    return tuple(View(step=slide.step, questions=_questions(slide, decode)) for slide in slides)


def level(entropy: float) -> int:
    """0 (certain) to 6, by LEVELS."""
    return bisect_right(LEVELS, entropy)


def texts(ids: Sequence[int], decode: Decode) -> Iterator[str]:
    """What each token adds to the text; a character spread over tokens belongs to the one that completes it."""
    for index in range(len(ids)):
        before = list(ids[max(0, index - _CONTEXT) : index])
        known = decode(before).rstrip(_INCOMPLETE)
        added = decode([*before, ids[index]])[len(known) :]
        yield added.rstrip(_INCOMPLETE) or "·"


def visible(text: str) -> str:
    """White space as signs."""
    return text.replace("\n", "↵").replace(" ", "␣")


def _slides(paths: Iterable[Path]) -> Iterator[Slide]:
    for path in paths:
        try:
            yield from_json(path.read_bytes(), Slide)
        except TrainerError as error:
            logger.warning("the report does without %s: %s", path, error)


def _questions(slide: Slide, decode: Decode) -> tuple[tuple[str, tuple[Strip, ...]], ...]:
    return tuple(
        (question, tuple(_strip(answer, decode) for answer in answers))
        for question, answers in groupby(slide.answers, key=lambda answer: answer.question)
    )


def _strip(answer: Specimen, decode: Decode) -> Strip:
    shown = answer.tokens[:MAX_TOKENS]
    words = texts([token.id for token in shown], decode)
    return Strip(
        outcome=answer.outcome,
        reward=answer.reward,
        advantage=answer.advantage,
        cells=tuple(_cell(number, token, text) for number, (token, text) in enumerate(zip(shown, words, strict=True))),
        hidden=len(answer.tokens) - len(shown),
    )


def _cell(number: int, token: Sight, text: str) -> Cell:
    entropy = "unknown" if token.entropy is None else f"{token.entropy:.3f}"
    k3 = "none" if token.k3 is None else f"{token.k3:.2g}"
    trained, clipped = "trained" if token.selected else "not trained", "clipped" if token.clipped else "not clipped"
    facts = (entropy, f"{token.probability:.3f}", f"{token.advantage:+.3f}", k3)
    names = ("entropy", "probability", "advantage", "k3")
    told = " · ".join(f"{name} {fact}" for name, fact in zip(names, facts, strict=True))
    return Cell(
        text=text.replace("\n", "↵\n"),
        classes=_classes(token),
        tip=f"{number + 1}: {visible(text)}   {told} · {trained} · {clipped}",
        facts=(str(number + 1), visible(text), *facts, _WORDS[token.selected], _WORDS[token.clipped]),
    )


def _classes(token: Sight) -> str:
    shade = "eu" if token.entropy is None else f"e{level(token.entropy)}"
    return " ".join([shade, "on" if token.selected else "off", *(["cut"] if token.clipped else [])])
