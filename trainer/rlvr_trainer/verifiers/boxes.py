r"""Where a completion puts its answer: the last \boxed{...}, `#### 7`, or "the answer is $7$".

Linear in the text and without recursion, whatever the text is.
"""

from __future__ import annotations

import re
from typing import Final

_COMMAND: Final = re.compile(r"\\f?boxed\s*\{")
_BRACE: Final = re.compile(r"\\.|[{}]", re.DOTALL)
_LONGEST_END: Final = 20_000
_HASHES: Final = re.compile(r"^#{4}(?!#)[ \t]*([^\n]+?)\s*\Z", re.MULTILINE)
_PHRASE: Final = re.compile(r"\b(?i:answer|result)\b[*: ]*(?i:is|=)?[*: ]*([^\n]{1,2000})$", re.MULTILINE)
_FORMULA: Final = re.compile(r"^\s*(?:\$+([^$]+)\$+|\\\((.+?)\\\)|\\\[(.+?)\\\])\s*[.*]*\s*$")


def marked_answer(text: str) -> str | None:
    """The answer in the last box or, without one, after `####` on the last line; None without either."""
    box = last_box(text)
    if box is not None:
        return box
    hashes = _HASHES.search(text)
    return hashes.group(1) if hashes else None


def told_answer(text: str) -> str | None:
    """What follows the last "answer is" or "answer:" to the end of its line, or the formula that is all of it.

    Only the end of a long text is searched.
    """
    told = _PHRASE.findall(text[-_LONGEST_END:])
    if not told:
        return None
    formula = _FORMULA.match(told[-1])
    return next(filter(None, formula.groups()), None) if formula else str(told[-1]).strip(" *.")


def last_box(text: str) -> str | None:
    """What stands in the last box that is closed; None without one."""
    for start in reversed([match.end() for match in _COMMAND.finditer(text)][-8:]):
        end = _closing_brace(text, start)
        if end is not None:
            return text[start:end]
    return None


def _closing_brace(text: str, start: int) -> int | None:
    """Where the group that opens before `start` ends."""
    depth = 1
    for match in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return match.start()
    return None
