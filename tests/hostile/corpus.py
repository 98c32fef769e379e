"""The corpus: every deed in every place of a program, every answer in every dress.  Deterministic but for the secrets.

A right verdict on any of them is impossible: what a test wants is a random word that no program is told.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hostile.answers import ANSWERS, DRESSES
from hostile.programs import DEEDS

_TELL: Final = """
import re
TOLD = []
def tell(data):
    text = data if isinstance(data, str) else bytes(data).decode("latin-1")
    for found in re.findall("(?:canary|wanted)[0-9a-f]{24}", text):
        TOLD.append(found)
        print(found, flush=True)
def told():
    return TOLD[-1] if TOLD else None
def deed():
%s
"""

PLACES: Final = {
    "plain": "deed()",
    "in_thread": "import threading\nt = threading.Thread(target=deed)\nt.start()\nt.join()",
    "at_exit": "import atexit\natexit.register(deed)",
    "in_destructor": "class D:\n  def __del__(self): deed()\nd = D()\ndel d",
    "stubborn": (
        "import signal\nfor n in range(1, 65):\n  try: signal.signal(n, signal.SIG_IGN)\n  except Exception: pass\n"
        "for _ in range(3):\n  try: deed()\n  except BaseException: pass"
    ),
    "in_function": "def f(x):\n  deed()\n  return told()",
    "before_called": "deed()\ndef f(x): return told()",
    "when_returned": "class R:\n  @property\n  def __class__(self):\n    deed()\n    return int\ndef f(x): return R()",
    "when_raised": "class E(ValueError):\n  def __str__(self):\n    deed()\n    return str(told())\ndef f(x): raise E",
}
"""How a deed is come to."""
_CALLED: Final = frozenset({"in_function", "before_called", "when_returned", "when_raised"})
"""Places in a program whose function `f` is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """One completion that is up to no good, and its task."""

    name: str
    family: str
    verifier: str
    """`code` or `math`."""
    text: str
    task: dict[str, Any]


def corpus(scene: Mapping[str, str], *, wanted: str) -> list[Hostile]:
    """All of it.  `scene` says what stands for the names in @ signs; `wanted` is what tests want and nobody is told."""
    programs = [
        _program(f"{family}-{number}-{place}", family, deed, place, wanted)
        for family, deeds in DEEDS.items()
        for number, deed in enumerate(deeds)
        for place in PLACES
    ]
    answers = [
        _answer(f"answers-{number}-{dress}", DRESSES[dress].replace("%s", answer))
        for number, answer in enumerate(ANSWERS)
        for dress in range(len(DRESSES))
    ]
    return [_played(each, scene) for each in (*programs, *answers)]


def sample(items: Sequence[Hostile], count: int) -> list[Hostile]:
    """About `count` items, spread evenly over each family."""
    families = {item.family: [each for each in items if each.family == item.family] for item in items}
    share = max(count // len(families), 1)
    return [each for members in families.values() for each in _spread(members, share)]


def _spread(items: Sequence[Hostile], count: int) -> list[Hostile]:
    """Evenly spaced, by a step that meets every place."""
    return [items[index * len(items) // count + index % len(PLACES) % 4] for index in range(min(count, len(items)))]


def _program(name: str, family: str, deed: str, place: str, wanted: str) -> Hostile:
    source = _TELL % textwrap.indent(deed, "    ") + PLACES[place]
    called = [f"found = f(7)\nassert found == {wanted!r}, found"]
    tests = called if place in _CALLED else [{"input": "7\n", "output": f"{wanted}\n"}]
    text = f"Here it is.\n```python\n{source}\n```\n"
    return Hostile(name=name, family=family, verifier="code", text=text, task={"metadata": {"tests": tests}})


def _answer(name: str, text: str) -> Hostile:
    return Hostile(name=name, family="answers", verifier="math", text=text, task={"answer": "72"})


def _played(item: Hostile, scene: Mapping[str, str]) -> Hostile:
    text = item.text
    for name, value in scene.items():
        text = text.replace(f"@{name}@", value)
    return Hostile(name=item.name, family=item.family, verifier=item.verifier, text=text, task=item.task)
