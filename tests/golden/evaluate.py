"""One verdict per golden case: ok, later, unknown, or mismatch with the numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import base, entropies, opinions
from .cases import Case

LATER = ("ssp", "decontam", "r2r")
"""Beginnings of the ids that are not about training: merging checkpoints, preparing data, routing at inference."""

EVALUATIONS: Mapping[str, Callable[[Case], dict[str, Any]]] = {
    **base.EVALUATIONS,
    **entropies.EVALUATIONS,
    **opinions.EVALUATIONS,
}


def verdict(case: Case) -> str:
    """A line about the case that begins with its verdict."""
    if case.id.startswith(LATER):
        return f"later {case.id}"
    if case.id not in EVALUATIONS:
        return f"unknown {case.id}: no function here is asked for it"
    try:
        complaints = list(case.complaints(EVALUATIONS[case.id](case)))
    except Exception as error:  # noqa: BLE001  a case that cannot be computed must not hide the verdicts of the others
        complaints = [f"{type(error).__name__}: {error}"]
    return f"mismatch {case.id} {'; '.join(complaints)}" if complaints else f"ok {case.id}"
