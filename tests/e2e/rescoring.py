"""Keep what a run's coordinator and learner throw away, and score every sampled token again under its label."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from reference import learner_logprobs
from rlvr_trainer.learner.models import Policy, load_policy
from rlvr_trainer.samples import Completion, Group, StepFacts
from rlvr_trainer.storage.policies import READY, step_of
from rlvr_trainer.wire import unpack

WRONG = 1e-3
"""Nats: far above what float32 does to a log-probability here, far below what a step of training does."""
_LOOK_SECONDS = 0.05


@contextmanager
def everything_kept(run: Path, kept: Path) -> Iterator[None]:
    """While the block runs, link each batch and each policy of the run into `kept`."""
    over = threading.Event()
    thread = threading.Thread(target=_keep, args=(run, kept, over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        keep_now(run, kept)


def _keep(run: Path, kept: Path, over: threading.Event) -> None:
    while not over.wait(_LOOK_SECONDS):
        keep_now(run, kept)


def keep_now(run: Path, kept: Path) -> None:
    for path in run.glob("work/attempts/a*/batches/*.facts"):
        _link(path, kept / "batches" / path.parts[-3] / path.name)
    for ready in run.glob(f"work/policies/*/{READY}"):
        for path in _inside(ready.parent):
            _link(path, kept / "policies" / ready.parent.name / path.name)


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []  # gone while we looked, and seen before


def _link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(path, target)
    except (FileExistsError, FileNotFoundError):
        return  # kept already, or gone while we looked


@dataclass
class Rescored:
    """What scoring again found."""

    tokens: int = 0
    wrong: int = 0
    """Tokens whose recorded log-probability is not that of the policy on their label."""
    largest: float = 0.0
    """Nats, over all tokens."""
    mixed: int = 0
    """Completions that several policies wrote."""
    under_older: list[float] = field(default_factory=list)
    """Mean difference of each range under the policy before the labelled one: whether a wrong label would show."""

    @property
    def power(self) -> float | None:
        """Median over ranges; None when there was no policy before."""
        return median(self.under_older) if self.under_older else None


def rescore(kept: Path) -> Rescored:
    """Every token of every batch in `kept`."""
    policies = {step_of(folder.name): folder for folder in (kept / "policies").iterdir()}
    models: dict[int, Policy] = {}
    found = Rescored()
    for path in sorted((kept / "batches").rglob("*.facts")):
        facts = unpack(path.read_bytes(), StepFacts)
        models = {step: model for step, model in models.items() if step >= facts.step - 8}
        for scored in facts.groups:
            _rescore_group(scored.group, policies, models, found)
    return found


def _rescore_group(group: Group, policies: dict[int, Path], models: dict[int, Policy], found: Rescored) -> None:
    steps = {span.step for completion in group.completions for span in completion.spans}
    wanted = {step for labelled in steps for step in (labelled, labelled - 1) if step in policies}
    assert steps <= wanted, f"no policy was published for steps {sorted(steps - wanted)}"
    expected = {}
    for step in wanted:
        models[step] = models.get(step) or load_policy(policies[step], temperature=1.0)
        tokens = [completion.token_ids.tolist() for completion in group.completions]
        expected[step] = learner_logprobs(models[step], group.prompt.token_ids, tokens)
    for index, completion in enumerate(group.completions):
        _compare(completion, {step: rows[index] for step, rows in expected.items()}, found)


def _compare(completion: Completion, expected: dict[int, np.ndarray], found: Rescored) -> None:
    assert completion.spans[0].start == 0
    assert completion.spans[-1].end == len(completion.token_ids)
    found.mixed += len(completion.spans) > 1
    for span in completion.spans:
        part = slice(span.start, span.end)
        gaps = np.abs(completion.logprobs[part] - expected[span.step][part])
        found.tokens += len(gaps)
        found.wrong += int((gaps > WRONG).sum())
        found.largest = max(found.largest, float(gaps.max(initial=0.0)))
        if span.step - 1 in expected:
            older = np.abs(completion.logprobs[part] - expected[span.step - 1][part])
            found.under_older.append(float(older.mean()))
