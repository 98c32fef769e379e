"""From a verifier's spec to the verifier.

Each kind is a module with `make(spec)`, imported only when asked for: math-verify takes a second, reasoning-gym three.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final

from rlvr_api.reward import VerifierSpec
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.verifiers.verdicts import Verifier

MODULES: Final = {
    "exact": "rlvr_trainer.verifiers.exact",
    "math": "rlvr_trainer.verifiers.mathematics",
    "reasoning_gym": "rlvr_trainer.verifiers.reasoning_gym",
    "custom": "rlvr_trainer.verifiers.custom",
}


def kind_of(spec: VerifierSpec) -> str:
    """Which of the kinds a spec sets, such as `exact`."""
    return next(name for name in VerifierSpec.model_fields if name != "weight" and getattr(spec, name) is not None)


def verifier_for(spec: VerifierSpec) -> Verifier:
    """The verifier that `spec` describes; InvalidInput when it cannot work here."""
    kind = kind_of(spec)
    if kind not in MODULES:
        raise InvalidInput(f"verifier {kind!r} is not available in this version; use one of: {', '.join(MODULES)}.")
    try:
        make: Callable[[Any], Verifier] = importlib.import_module(MODULES[kind]).make
    except ImportError as error:
        raise InvalidInput(
            f"verifier {kind!r} needs a package that is missing ({error}): pip install 'rlvr-operator[reward]'."
        ) from error
    return make(getattr(spec, kind))
