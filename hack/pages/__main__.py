"""`PYTHONPATH=hack python -m pages` writes docs/reference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from pages.fields import fields_page
from pages.metrics import metrics_page

FOLDER: Final = Path(__file__).parents[2] / "docs" / "reference"


def texts() -> dict[Path, str]:
    """Every page with what it should hold."""
    pages = {"rlvrjob.md": fields_page(), "metrics.md": metrics_page()}
    return {FOLDER / name: text for name, text in pages.items()}


def main() -> None:
    """Write them all."""
    for path, text in texts().items():
        path.write_text(text)
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
