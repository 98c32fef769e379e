"""Numbers computed by hand or by the published code: inputs, expected results, and how closely to agree.

A case may be read in either precision.  null is NaN.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

VECTORS = Path(__file__).with_name("vectors.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One entry of vectors.json."""

    id: str
    inputs: dict[str, Any]
    expected: dict[str, Any]
    tolerance: float = 1e-9
    dtype: torch.dtype = torch.float64

    def given(self, name: str) -> Tensor:
        """An input as a tensor of the case's precision."""
        return _numbers(self.inputs[name]).to(self.dtype)

    def given_mask(self, name: str = "mask") -> Tensor:
        return torch.tensor(self.inputs[name]).bool()

    def wanted(self, name: str) -> Tensor:
        return _numbers(self.expected[name])

    def assert_close(self, actual: Tensor | float, name: str) -> None:
        """Compare with `expected[name]`; null means NaN."""
        wanted = self.wanted(name)
        got = torch.as_tensor(actual).to(torch.float64)
        torch.testing.assert_close(got, wanted, atol=self.tolerance, rtol=0, equal_nan=True)

    def complaints(self, results: Mapping[str, Any]) -> Iterator[str]:
        """Every expected result that `results` does not agree with, with the numbers."""
        for name, wanted in self.expected.items():
            if name not in results:
                yield f"{name}: no such result"
            elif (complaint := self._complaint(_plain(results[name]), wanted)) is not None:
                yield f"{name}: {complaint}"

    def _complaint(self, got: Any, wanted: Any) -> str | None:
        if not isinstance(got, Tensor) or not _is_numeric(wanted):
            return self._complaint_of_parts(got, wanted)
        target = _numbers(wanted)
        if got.numel() != target.numel():
            return f"got {got.numel()} numbers {_brief(got)}, expected {target.numel()}"
        got = got.to(torch.float64).reshape(target.shape)
        gap = (got - target).abs().nan_to_num(nan=math.inf, posinf=math.inf)
        gap[(got == target) | (got.isnan() & target.isnan())] = 0.0
        allowed = self.tolerance if self.dtype == torch.float64 else 1e-5 * (1 + target.abs().nan_to_num())
        if bool((gap <= allowed).all()):
            return None
        return f"got {_brief(got)}, expected {_brief(target)}, apart by {float(gap.max()):.3g} > {self.tolerance:.3g}"

    def _complaint_of_parts(self, got: Any, wanted: Any) -> str | None:
        if isinstance(got, dict) and isinstance(wanted, dict) and got.keys() == wanted.keys():
            complaints = (self._complaint(_plain(got[key]), wanted[key]) for key in wanted)
        elif isinstance(got, list) and isinstance(wanted, list) and len(got) == len(wanted):
            complaints = (self._complaint(_plain(ours), theirs) for ours, theirs in zip(got, wanted, strict=True))
        else:
            complaints = iter([None if got == wanted else f"got {_brief(got)}, expected {_brief(wanted)}"])
        return next((complaint for complaint in complaints if complaint is not None), None)


def load(file: Path = VECTORS, *, dtype: torch.dtype = torch.float64) -> list[Case]:
    """Every case in order; an id may come more than once."""
    entries, fields = json.loads(file.read_text())["cases"], Case.__dataclass_fields__
    return [Case(**{name: entry[name] for name in fields if name in entry}, dtype=dtype) for entry in entries]


def _numbers(value: Any) -> Tensor:
    if isinstance(value, list):
        return torch.stack([_numbers(item) for item in value]) if value else torch.zeros(0, dtype=torch.float64)
    return torch.tensor(math.nan if value is None else value, dtype=torch.float64)


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_numeric, value)) and len({len(item) if isinstance(item, list) else -1 for item in value}) < 2
    return value is None or isinstance(value, int | float)


def _plain(value: Any) -> Any:
    """Numbers as tensors, so that there is one way to compare them."""
    if isinstance(value, Tensor):
        return value.detach()
    return _numbers(value) if _is_numeric(value) else value


def _brief(value: Any) -> str:
    text = str(value.tolist()) if isinstance(value, Tensor) else str(value)
    return text if len(text) <= 200 else text[:197] + "..."


CASES = {case.id: case for case in load()}
