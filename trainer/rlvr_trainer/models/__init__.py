"""Base models that ship inside the package, so that a first job needs no download.

Promises the directory of a Hugging Face model by its name.  Reads nothing and imports only the standard library; how a
model was made is told by its `README.md` and by the script beside it.
"""

from __future__ import annotations

from pathlib import Path

from rlvr_trainer.errors import InvalidInput

BUILTIN = ("arithmetic",)


def builtin_path(name: str) -> Path:
    """The Hugging Face directory of the shipped model `name`; InvalidInput if there is none."""
    if name not in BUILTIN:
        known = ", ".join(BUILTIN)
        raise InvalidInput(
            f"model.builtin is {name!r}, but the package ships only: {known}; for others use model.path or model.hub"
        )
    return Path(__file__).parent / name
