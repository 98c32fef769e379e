"""Evaluate a file in the format of vectors.json: python -m tests.golden FILE.

One line per case; exit status 1 on a mismatch or an unknown id.
"""

from __future__ import annotations

import sys
from pathlib import Path

from .cases import load
from .evaluate import verdict


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print("usage: python -m tests.golden FILE", file=sys.stderr)
        return 2
    lines = [verdict(case) for case in load(Path(arguments[0]))]
    print("\n".join(lines))
    return int(any(line.startswith(("mismatch", "unknown")) for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
