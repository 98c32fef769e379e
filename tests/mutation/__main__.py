"""How many small errors in the algorithms the unit tests notice: python -m tests.mutation [MODULE ...].

Each mutant lives in a forked process that already knows torch, so that a run takes minutes.  Prints the survivors and
one JSON line; exit status 1 below 95 %.  Hypothesis draws the same examples every time.
"""

from __future__ import annotations

import ast
import gc
import importlib
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import torch
from hypothesis import settings

from .equivalent import EQUIVALENT
from .examine import passes
from .mutants import Mutant, mutants_of

ROOT = Path(__file__).parents[2]
PACKAGE = "rlvr_trainer.algorithms"
FOLDER = ROOT / "trainer" / "rlvr_trainer" / "algorithms"
TESTS = ROOT / "tests" / "unit" / "algorithms"
ASKED = {
    "advantages": ("advantages", "golden", "laws"),
    "correction": ("correction", "golden", "recipe"),
    "emphasis": ("emphasis", "golden", "laws"),
    "entropy": ("entropy", "golden", "recipe", "laws"),
    "lengths": ("lengths", "golden", "recipe"),
    "losses": ("losses", "golden", "recipe", "laws"),
    "objective": ("recipe", "golden", "laws"),
    "passk": ("passk", "golden"),
    "ranking": ("ranking", "entropy", "laws"),
    "rewards": ("rewards", "recipe"),
    "shaping": ("recipe",),
    "targets": ("targets", "lengths", "golden"),
}
"""Every mutated module, and the tests that may notice, the quick ones first."""
WARM = ("hypothesis.strategies", "pytest", "torch.distributed.tensor", "rlvr_api")
"""Modules that are imported before the fork, with torch: that takes longer than most tests."""
WANTED = 0.95
PATIENCE_SECONDS = 120


class Mutated(MetaPathFinder, Loader):
    """Gives the mutant's source where its module is imported."""

    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(self, fullname: str, *_: object) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname == f"{PACKAGE}.{self._mutant.module}" else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._mutant.source, f"<{self._mutant.name}>", "exec"), module.__dict__)


def main(modules: Sequence[str]) -> int:
    settings.register_profile("mutation", derandomize=True, database=None, max_examples=5)
    settings.load_profile("mutation")
    sys.path.insert(0, str(ROOT / "tests"))
    torch.set_num_threads(1)
    for name in WARM:
        importlib.import_module(name)
    gc.freeze()
    started, killed, survivors, equivalent = time.monotonic(), 0, [], 0
    for module in modules or ASKED:
        assert not is_killed(unchanged(module)), f"the tests of {module} fail without any mutant: mend them first"
        for mutant in mutants_of(FOLDER / f"{module}.py"):
            if (mutant.module, mutant.text, mutant.before, mutant.after) in EQUIVALENT:
                equivalent += 1
            elif is_killed(mutant):
                killed += 1
            else:
                survivors.append(mutant.name)
                print(f"survived {mutant.name}", flush=True)
        print(f"{module} done: {killed} killed, {len(survivors)} survived", flush=True)
    score = killed / max(killed + len(survivors), 1)
    found = {"killed": killed, "survived": len(survivors), "equivalent": equivalent, "score": round(score, 4)}
    print(json.dumps({**found, "minutes": round((time.monotonic() - started) / 60, 1)}))
    return int(score < WANTED)


def unchanged(module: str) -> Mutant:
    """A module as it is, on the way that mutants go."""
    source = ast.unparse(ast.parse((FOLDER / f"{module}.py").read_text()))
    return Mutant(module=module, line=0, before="", after="", text="", source=source)


def is_killed(mutant: Mutant) -> bool:
    """Whether any test fails, or none ends, with the mutant in place."""
    child = os.fork()
    if child == 0:
        os._exit(_run(mutant))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status != 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def _run(mutant: Mutant) -> int:
    """0 when every test passes; the quick ones come first."""
    sys.meta_path.insert(0, Mutated(mutant))
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return int(not all(passes(TESTS / f"test_{name}.py") for name in ASKED[mutant.module]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
