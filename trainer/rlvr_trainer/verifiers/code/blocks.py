"""The program in a completion: the last closed code block marked as Python, else the last closed one without a mark.

A block that is opened last and never closed means that the program was not finished, so there is none.
"""

from __future__ import annotations

import re
from typing import Final

_FENCE: Final = re.compile(r"^[ \t]{0,3}(```+|~~~+)[ \t]*([\w+#.-]*)[^\n`]*$")
_PYTHON: Final = frozenset({"python", "python3", "py"})


def last_block(text: str) -> str | None:
    """The program's source; None without one, or when the last block is not closed."""
    blocks, opened = _blocks(text)
    if opened is not None and (opened in _PYTHON or opened == ""):
        return None
    for wanted in (_PYTHON, {""}):
        marked = [source for mark, source in blocks if mark in wanted]
        if marked:
            return marked[-1]
    return None


def _blocks(text: str) -> tuple[list[tuple[str, str]], str | None]:
    """Mark and content of every closed block, and the mark of one that is still open at the end."""
    blocks: list[tuple[str, str]] = []
    fence, mark, lines = "", "", list[str]()
    for line in text.split("\n"):
        match = _FENCE.match(line.rstrip("\r"))
        if match is None:
            lines.append(line)
        elif not fence:
            fence, mark, lines = match.group(1), match.group(2).lower(), []
        elif match.group(1).startswith(fence) and not match.group(2):
            blocks.append((mark, "\n".join(lines) + "\n"))
            fence = ""
        else:
            lines.append(line)
    return blocks, mark if fence else None
