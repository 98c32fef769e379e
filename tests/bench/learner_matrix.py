"""Every ZeRO stage on 1, 2 and 4 ranks, padded and packed, against the local backend: same losses, same weights.

Each cell trains ten steps of two updates each, and goes on from a checkpoint that the cell before it wrote after five:
another stage, another layout, another number of ranks.  Differences are the largest of all updates and all weights.
The table is Markdown; the last line is one JSON object.  Exit status 1 where a loss is off by more than 1e-5, or a
weight by more than 1e-5.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import torch

from learner_groups import Errand, Trained, difference, train_group, train_here
from learning import a_model_folder

STEPS, HALF = 10, 5
WANTED: Final = 1e-5


@dataclass(frozen=True, kw_only=True)
class Row:
    """How far a cell is from the local backend."""

    stage: int
    ranks: int
    packs: bool
    loss: float
    norm: float
    weights: float
    resumed: float
    """Weights of the run that went on from the cell before."""

    @property
    def holds(self) -> bool:
        return max(self.loss, self.weights, self.resumed) <= WANTED

    def text(self) -> str:
        layout = "packed" if self.packs else "padded"
        numbers = (f"{value:.1e}" for value in (self.loss, self.norm, self.weights, self.resumed))
        return f"| {self.stage} | {self.ranks} | {layout} | {' | '.join(numbers)} |"


HEAD: Final = """\
| ZeRO stage | Ranks | Layout | Loss, largest difference | Gradient norm, relative | Weights | Weights, resumed |
| --- | --- | --- | --- | --- | --- | --- |"""


def errands_of(folder: Path, model: str, *, ranks: int, load: str) -> list[Errand]:
    """Two for each cell of a group: the whole way, and the second half from what was saved before."""
    found: list[Errand] = []
    for stage in (1, 2, 3):
        for packs in (False, True):
            name = f"{ranks}-{stage}-{packs}"
            saved = str(folder / "saved" / name)
            way = Errand(model=model, result=str(folder / name), stage=stage, packs=packs, save=saved, save_after=HALF)
            half = replace(way, result=str(folder / f"{name}-resumed"), save="", load=load, first=HALF + 1)
            found += [way, half]
            load = saved
    return found


def row_of(errand: Errand, whole: Trained, half: Trained, alone: Trained, *, ranks: int) -> Row:
    return Row(
        stage=errand.stage,
        ranks=ranks,
        packs=errand.packs,
        loss=max(apart(whole.losses, alone.losses), apart(half.losses, alone.losses[2 * HALF :])),
        norm=max(abs(one / other - 1) for one, other in zip(whole.norms, alone.norms, strict=True)),
        weights=difference(whole.weights, alone.weights),
        resumed=difference(half.weights, alone.weights),
    )


def apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def matrix(folder: Path, sizes: Sequence[int]) -> list[Row]:
    model, load = str(a_model_folder(folder / "model")), str(folder / "saved" / "local")
    alone = train_here(Errand(model=model, result=str(folder / "local"), save=load, save_after=HALF))
    rows = []
    for ranks in sizes:
        errands = errands_of(folder, model, ranks=ranks, load=load)
        found = train_group(errands, ranks=ranks, seconds=3600)
        for number in range(0, len(errands), 2):
            rows.append(row_of(errands[number], found[number], found[number + 1], alone, ranks=ranks))
            print(rows[-1].text(), flush=True)
        load = errands[-2].save
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        rows = matrix(Path(folder), options.ranks)
    missed = sum(not row.holds for row in rows)
    figures = {
        "cells": len(rows),
        "missed": missed,
        "lossDifference": max(row.loss for row in rows),
        "weightDifference": max(row.weights for row in rows),
        "resumedDifference": max(row.resumed for row in rows),
        "steps": STEPS,
    }
    print(json.dumps(figures))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
