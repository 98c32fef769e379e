r"""What a final answer says once its dress is off: a pure rewriting of LaTeX and prose, and a comparison of both.

math-verify decides about algebra; here is what it misses or takes long for: percentages, units, degrees, thousands
separators, mixed numbers, \text, choices, words, intervals and unions, lists.  `same` is True or False only where the
forms are simple enough to be sure; otherwise None, and algebra decides.
Limits: words are compared without case, units are dropped without being converted (5 m is 5 cm), and lists without
brackets are compared in any order.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

LONGEST: Final = 2000
"""Characters of an answer that is looked at; more is no final answer."""
_LONGEST_NUMBER: Final = 400
_DEEPEST: Final = 20

_DROPPED: Final = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|[Bb]igg?[lr]?|limits)(?![a-zA-Z])"
    r"|\\[!,;:> ]|~|\$|\\\(|\\\)|\\\[|\\\]|\*\*|`"
)
_DEGREES: Final = re.compile(r"\^?\s*\{?\s*(?:\\circ(?![a-zA-Z])|°|\\degree)\s*\}?|\s*\bdegrees?\b")
_TEXT: Final = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|operatorname|rm|bf)\s*\{([^{}]*)\}")
_WHOLE_SEPARATED: Final = re.compile(r"[-+]?\d{1,3}(?:(?:,|\{,\}|\\,|\\!,|,\\!| )\d{3})+(?:\.\d+)?")
_SHORT_FRACTION: Final = re.compile(r"\\frac\s*(\d)\s*(\d)")
_HALF_FRACTION: Final = re.compile(r"\\frac\s*(?:(\d)\s*(\{[^{}]*\})|(\{[^{}]*\})\s*(\d))")
_SHORT_ROOT: Final = re.compile(r"\\sqrt\s*([0-9a-zA-Z])(?![a-zA-Z])")
_NAMED: Final = re.compile(r"^\s*(?:[a-zA-Z](?:_\{?\w+\}?|\([a-z]\))?\s*=|[a-zA-Z]\s*\\in(?![a-zA-Z]))\s*(?=[^=]+$)")
_UNITS: Final = r"\s*(?:[kcmµ]m|km/h|mph|kg|lbs?|oz|ft|yd|hrs?|mL|[¢€£]|USD)|\s+(?:[mgshlLWJNV]|in|mi|min|sec|Pa|Hz)"
_FUNCTIONS: Final = r"(?:pi|sqrt|sin|cos|tan|cot|sec|csc|log|ln|exp|mod|inf|infty|infinity|and|or|to)\b"
_UNIT: Final = re.compile(
    rf"(?<=[\d}}.)])(?:{_UNITS}|\s+(?!{_FUNCTIONS})[a-zA-Z]{{3,}})(?![a-zA-Z(])"
    rf"(?:\s*/\s*[a-zA-Z]+|\s+[a-zA-Z]+\.?)*(?:\s*\^\s*\{{?[23]\}}?)?\s*$"
)
_NUMBER: Final = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)")
_FRACTION: Final = re.compile(r"([-+]?)(?:\\frac\{([-+]?[\d.]+)\}\{([-+]?[\d.]+)\}|([\d.]+)/([\d.]+))")
_MIXED: Final = re.compile(r"([-+]?)(\d+)\s*(?:\\frac\{(\d+)\}\{(\d+)\}|(?<=\d)\s(\d+)/(\d+))")
_CHOICE: Final = re.compile(r"\(?([A-Z])\)?")
_WORDS: Final = re.compile(r"[a-zA-Z][a-zA-Z '-]+")
_PERCENT: Final = re.compile(r"\s*(?:\\?%|\bpercent\b)\s*$")
_DASHES: Final = {0x2212: "-", 0x2013: "-"}
_OR: Final = re.compile(r"\\(?:lor|vee)(?![a-zA-Z])|(?<![a-zA-Z\\])or(?![a-zA-Z])")
_OPENING: Final = {"(": ")", "[": "]", "\\{": "\\}"}


def undressed(answer: str) -> str:
    r"""An answer in its plainest writing: `\left( \dfrac12,\ \$3 \right)` is `( \frac{1}{2}, 3 )`."""
    plain = _TEXT.sub(r" \1 ", answer.strip().rstrip("."))
    if _WHOLE_SEPARATED.fullmatch(plain.replace("\\$", "").replace("$", "").strip()):
        plain = re.sub(r"[^\d.+-]", "", plain)
    plain = _DROPPED.sub("", plain.replace("\\$", "").replace("{,}", ","))
    plain = re.sub(r"\\[dtc]frac", r"\\frac", plain).replace("\\%", "%").replace("\\ne ", "\\neq ")
    plain = plain.translate(_DASHES)
    plain = _DEGREES.sub("", plain)
    plain = _HALF_FRACTION.sub(_braced, _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", plain))
    plain = _NAMED.sub("", _SHORT_ROOT.sub(r"\\sqrt{\1}", plain))
    if not _PERCENT.search(plain):
        plain = _UNIT.sub("", plain)
    return re.sub(r"\s+", " ", plain).strip()


def same(found: str, reference: str) -> bool | None:
    """Whether two answers are the same; None where only algebra can tell."""
    if not (is_tame(found) and is_tame(reference)):
        return None
    return _same(undressed(found), undressed(reference))


def hedges(found: str, reference: str) -> bool:
    """Whether an answer offers several numbers to choose from where one is wanted: `71 or 72`."""
    offered = {number(undressed(part.strip(" (),;."))) for part in _OR.split(_TEXT.sub(r" \1 ", found))} - {None}
    return len(offered) > 1 and number(undressed(reference)) is not None


def is_words(answer: str) -> bool:
    """Whether an answer is words rather than mathematics."""
    return is_tame(answer) and _WORDS.fullmatch(undressed(answer)) is not None


def is_tame(answer: str) -> bool:
    """Whether an answer is short, and nested no deeper than answers are."""
    if len(answer) > LONGEST:
        return False
    depth = deepest = 0
    for character in answer:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest <= _DEEPEST


def number(plain: str) -> Fraction | None:
    """The value of an undressed number, fraction or mixed number."""
    text = plain.replace("\\ ", " ").strip()
    if len(text) > _LONGEST_NUMBER:
        return None
    if _NUMBER.fullmatch(text):
        return Fraction(text.rstrip("."))
    mixed = _MIXED.fullmatch(text)
    if mixed:
        sign, whole, *parts = (part for part in mixed.groups() if part is not None)
        return _ratio(sign, parts[0], parts[1], plus=Fraction(whole))
    ratio = _FRACTION.fullmatch(text)
    if ratio:
        sign, above, below = (part for part in ratio.groups() if part is not None)
        return _ratio(sign, above, below)
    return None


def _ratio(sign: str, above: str, below: str, *, plus: Fraction | int = 0) -> Fraction | None:
    try:
        value = plus + Fraction(above) / Fraction(below)
    except (ValueError, ZeroDivisionError):
        return None
    return -value if sign == "-" else value


def _same(found: str, reference: str) -> bool | None:
    numbers = _same_numbers(found, reference)
    if numbers is not None:
        return numbers
    if found.replace(" ", "") == reference.replace(" ", ""):
        return True if found else None
    letters = _CHOICE.fullmatch(found), _CHOICE.fullmatch(reference)
    if letters[0] and letters[1]:
        return letters[0].group(1) == letters[1].group(1)
    if _WORDS.fullmatch(found) and _WORDS.fullmatch(reference):
        return found.casefold() == reference.casefold()
    return _same_parts(found, reference)


def _same_numbers(found: str, reference: str) -> bool | None:
    """Numbers compare as values; a percentage is its hundredth or its figure."""
    are_percents = [bool(_PERCENT.search(text)) for text in (found, reference)]
    one, other = (number(_PERCENT.sub("", text)) for text in (found, reference))
    if one is None or other is None:
        return None
    if are_percents[0] == are_percents[1]:
        return one == other or (None if _is_rounded(found, reference) else False)
    percent, plain = (one, other) if are_percents[0] else (other, one)
    return plain in (percent, percent / 100)


def _is_rounded(found: str, reference: str) -> bool:
    """Whether one is a decimal and the other a fraction: then one may be the other, rounded."""
    are_decimals = ["." in text for text in (found, reference)]
    are_fractions = ["/" in text or "frac" in text for text in (found, reference)]
    return are_decimals in ([True, False], [False, True]) and are_fractions == are_decimals[::-1]


def _same_parts(found: str, reference: str) -> bool | None:
    """Unions, intervals, tuples and sets part by part; lists without brackets in any order."""
    some, others = _union(found), _union(reference)
    if len(some) > 1 or len(others) > 1:
        return _same_in_any_order(some, others)
    one, other = _bracketed(found), _bracketed(reference)
    if one and other and one[0] == other[0] and len(one[1]) == len(other[1]) > 1:
        if one[0][0] == "\\{":
            return _same_in_any_order(one[1], other[1])
        return _all(_same(a, b) for a, b in zip(one[1], other[1], strict=True))
    if one is None and other is None:
        parts, counterparts = _split(found), _split(reference)
        if len(parts) == len(counterparts) > 1:
            return _same_in_any_order(parts, counterparts)
    return None


def _union(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"\\cup(?![a-zA-Z])|\u222a", text)]


def _bracketed(text: str) -> tuple[tuple[str, str], list[str]] | None:
    r"""Brackets and parts of `(a, b)`, `[a, b)`, `\{a, b\}`."""
    for opening in _OPENING:
        for closing in _OPENING.values():
            if text.startswith(opening) and text.endswith(closing) and (opening == "\\{") == (closing == "\\}"):
                return (opening, closing), _split(text[len(opening) : len(text) - len(closing)])
    return None


def _split(text: str) -> list[str]:
    """Parts between commas (or `and`, `or`) that stand outside all brackets."""
    parts, depth, start = [], 0, 0
    joined = re.sub(r",?\s+(?:and|or)\s+", ",", text)
    for at, character in enumerate(joined):
        depth += (character in "([{") - (character in ")]}")
        if character in ",;" and depth == 0:
            parts.append(joined[start:at].strip())
            start = at + 1
    return [*parts, joined[start:].strip()]


def _same_in_any_order(some: list[str], others: list[str]) -> bool | None:
    """True when the parts can be paired; otherwise algebra may still find a pair."""
    left = list(others)
    for part in some:
        match = next((other for other in left if _same(part, other)), None)
        if match is None:
            return None
        left.remove(match)
    return True if not left else None


def _all(answers: object) -> bool | None:
    """False if any is False, True if all are True, else unknown."""
    found = list(answers)  # type: ignore[call-overload]
    if any(answer is False for answer in found):
        return False
    return True if all(found) else None


def _braced(match: re.Match[str]) -> str:
    digit, group, group_first, digit_last = match.groups()
    return f"\\frac{{{digit}}}{group}" if digit else f"\\frac{group_first}{{{digit_last}}}"
