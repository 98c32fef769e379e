"""Numbers computed by hand or by the published code: inputs, expected results, and how closely to agree."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_FILE = Path(__file__).with_name("vectors.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One entry of vectors.json."""

    system: str
    inputs: dict[str, Any]
    expected: dict[str, Any]
    tolerance: float

    def given(self, name: str) -> Tensor:
        """An input as a float64 tensor."""
        return torch.tensor(self.inputs[name], dtype=torch.float64)

    def given_mask(self, name: str = "mask") -> Tensor:
        return torch.tensor(self.inputs[name], dtype=torch.bool)

    def assert_close(self, actual: Tensor | float, name: str) -> None:
        """Compare with `expected[name]`; null means NaN."""
        wanted = _float64(self.expected[name])
        got = torch.as_tensor(actual).to(torch.float64)
        torch.testing.assert_close(got, wanted, atol=self.tolerance, rtol=0, equal_nan=True)


def load() -> dict[str, Case]:
    """Every case by its id."""
    entries = json.loads(_FILE.read_text())["cases"]
    fields = Case.__dataclass_fields__
    return {entry["id"]: Case(**{name: entry[name] for name in fields}) for entry in entries}


def _float64(value: Any) -> Tensor:
    if isinstance(value, list):
        return torch.stack([_float64(item) for item in value])
    return torch.tensor(float("nan") if value is None else value, dtype=torch.float64)


CASES = load()
