"""Whether what a program printed is what it should have printed.  Pure.

Lines are compared without white space at their ends and empty lines at the end of the text.  Where a line differs, its
words are compared: the same words, or numbers of the same value (1.50 and 1.5).  There is no tolerance.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final

_LONGEST_NUMBER: Final = 400


def is_same(printed: str, expected: str) -> bool:
    found, wanted = _lines(printed), _lines(expected)
    return len(found) == len(wanted) and all(map(_is_same_line, found, wanted))


def first_difference(printed: str, expected: str) -> tuple[str, str]:
    """The first line that is not as expected, and what was expected; a line that is missing is `nothing`."""
    found, wanted = _lines(printed), _lines(expected)
    for index in range(max(len(found), len(wanted))):
        one = found[index] if index < len(found) else "nothing"
        other = wanted[index] if index < len(wanted) else "nothing"
        if len(found) <= index or len(wanted) <= index or not _is_same_line(one, other):
            return one, other
    return "", ""


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _is_same_line(found: str, wanted: str) -> bool:
    if found == wanted:
        return True
    some, others = found.split(), wanted.split()
    return len(some) == len(others) and all(map(_is_same_word, some, others))


def _is_same_word(found: str, wanted: str) -> bool:
    if found == wanted:
        return True
    if max(len(found), len(wanted)) > _LONGEST_NUMBER:
        return False
    try:
        return Decimal(found) == Decimal(wanted)
    except InvalidOperation:
        return False
