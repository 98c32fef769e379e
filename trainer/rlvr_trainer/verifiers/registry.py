"""From a verifier's spec to the verifier.

Each kind is a module with `make(spec)`, imported only when asked for: math-verify takes a second, reasoning-gym three.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final

from rlvr_api.reward import VerifierSpec
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.verifiers.verdicts import Verifier

MODULES: Final = {
    "exact": "rlvr_trainer.verifiers.exact",
    "math": "rlvr_trainer.verifiers.mathematics",
    "multiple_choice": "rlvr_trainer.verifiers.multiple_choice",
    "code": "rlvr_trainer.verifiers.code.verify",
    "format": "rlvr_trainer.verifiers.format",
    "reasoning_gym": "rlvr_trainer.verifiers.reasoning_gym",
    "custom": "rlvr_trainer.verifiers.custom",
    "http": "rlvr_trainer.verifiers.http",
}
TIMED: Final = frozenset({"code", "http"})
"""Kinds that wait for something and are told how long they may."""
_SHARE_OF_DEADLINE: Final = 0.8
"""What waits gives up before its worker is killed: a verdict with a reason, and the worker lives."""
DEFAULT_SECONDS: Final = 10.0


def kind_of(spec: VerifierSpec) -> str:
    """Which of the kinds a spec sets, such as `exact`."""
    return next(name for name in VerifierSpec.model_fields if name != "weight" and getattr(spec, name) is not None)


def verifier_for(spec: VerifierSpec, *, deadline_seconds: float = DEFAULT_SECONDS) -> Verifier:
    """The verifier that `spec` describes, for items with such a deadline; InvalidInput when it cannot work here."""
    kind = kind_of(spec)
    try:
        make: Callable[..., Verifier] = importlib.import_module(MODULES[kind]).make
    except ImportError as error:
        raise InvalidInput(
            f"verifier {kind!r} needs a package that is missing ({error}): pip install 'rlvr-operator[reward]'."
        ) from error
    if kind in TIMED:
        return make(getattr(spec, kind), seconds=_SHARE_OF_DEADLINE * deadline_seconds)
    return make(getattr(spec, kind))
