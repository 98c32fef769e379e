r"""The answer must name the right letter.

Where the letter is looked for, best place first: the last \boxed{...}; the last "answer is C", "answer: (C)" or
"option C"; the last line, if it is nothing but a letter.  A letter anywhere else is prose and counts for nothing, and a
place that names two letters is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from rlvr_api.reward import MultipleChoiceVerifier
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.samples import Task, Verdict
from rlvr_trainer.verifiers.boxes import last_box
from rlvr_trainer.verifiers.verdicts import Verifier, correct, malformed, shown, wrong

_PHRASE: Final = re.compile(
    r"\b(?i:answer|choice|option)(?i:\s+(?:is|would be|must be|=))?\s*[:=]?\s*(?i:(?:option|choice)\s+)?"
    r"(?=(?P<rest>[^\n]{0,80}))"
)
_DRESS: Final = re.compile(r"\\(?:text|textbf|mathrm|mathbf|rm|bf|boxed)\b\s*|[*_`$\\{}\"']")
_BRACKETED: Final = re.compile(r"^[(\[]\s*([A-Za-z])\s*[)\]]")
_ALONE: Final = re.compile(r"^([A-Z])(?![A-Za-z0-9])(?!\s+[a-z])|^([A-Z])(?=\s+(?:because|since|as|or|and)\b)")
_SECOND: Final = re.compile(r"^[\s)\].,/]*(?:(?:or|and)\b|[,/&])\s*[(\[]?\s*([A-Z])(?![A-Za-z0-9])")


def make(spec: MultipleChoiceVerifier) -> Verifier:
    """Compare the letter that a completion names with the reference's."""

    def verify(task: Task, text: str) -> Verdict:
        expected = reference_letter(task, letters=spec.letters)
        found = named_letter(text, letters=spec.letters)
        if found is None:
            return malformed(f"no answer names one of the letters {spec.letters}")
        return correct() if found == expected else wrong(f"{found} is not {expected}")

    return verify


def reference_letter(task: Task, *, letters: str) -> str:
    """The right letter; InvalidInput when the record has none of `letters`."""
    letter = (task.answer or "").strip().strip("().").upper()
    if len(letter) != 1 or letter not in letters:
        raise InvalidInput(f"the reference answer {shown(str(task.answer))} is not one of the letters {letters}")
    return letter


def named_letter(text: str, *, letters: str) -> str | None:
    """The one letter that a completion gives as its answer; None without one."""
    box = last_box(text)
    if box is not None:
        return _letter_at(box, letters=letters, whole=True)
    for match in reversed(list(_PHRASE.finditer(text))):
        letter = _letter_at(match.group("rest"), letters=letters)
        if letter is not None:
            return letter
    lines = text.strip().splitlines()
    return _letter_at(lines[-1], letters=letters, whole=True) if lines else None


def _letter_at(place: str, *, letters: str, whole: bool = False) -> str | None:
    """The letter that `place` begins with, unless it names a second one; with `whole` a bare small letter counts."""
    plain = _DRESS.sub("", place).strip()
    if whole and len(plain.strip(".() ")) == 1:
        return _of(plain.strip(".() "), letters)
    for pattern in (_BRACKETED, _ALONE):
        match = pattern.match(plain)
        if match:
            found = match.group(match.lastindex or 1)
            rest = plain[match.end() :]
            is_answer = not _SECOND.match(rest) and not (whole and not _is_label(rest))
            return _of(found, letters) if is_answer else None
    return None


_is_label: Final[Callable[[str], object]] = re.compile(r"^\s*(?:$|[.:)\]])").match
"""After the letter of a whole place may stand the choice's own words, set off: `B. Paris`."""


def _of(letter: str, letters: str) -> str | None:
    return letter.upper() if letter.upper() in letters else None
