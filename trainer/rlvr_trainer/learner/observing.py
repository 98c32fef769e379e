"""What is looked at when a step is done: its own numbers; now and then the policy on the probe, and single tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rlvr_trainer.learner.exchange import Exchange
from rlvr_trainer.learner.findings import metrics_of
from rlvr_trainer.learner.microscope import magnify
from rlvr_trainer.learner.probe import Probe, overlap_with_base, probe_of
from rlvr_trainer.learner.step import Findings, Method
from rlvr_trainer.samples import StepFacts

_OVERLAP_EVERY: Final = 10
"""A pass over 16 completions, every so many steps, is a third of a percent of their time for the arithmetic model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasions:
    """When an attempt looks closer."""

    first_step: int
    """Of the attempt."""
    last_step: int
    """Of the job."""
    evaluate_every: int
    """0: only before the first and after the last step."""

    def magnifies(self, step: int) -> bool:
        """Whether single tokens of the step are written down."""
        return step in (self.first_step, self.last_step) or _is_due(step, self.evaluate_every)

    def compares_with_base(self, step: int) -> bool:
        return step == self.last_step or _is_due(step, _OVERLAP_EVERY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Looks at finished steps."""

    method: Method
    token_budget: int
    exchange: Exchange
    occasions: Occasions

    def observe(
        self, facts: StepFacts, findings: Findings, *, learning_rate: float, probe: Probe | None
    ) -> dict[str, float]:
        """Metrics of the step, and at times of the policy it made; at times a file of single tokens too."""
        metrics = metrics_of(facts, findings, self.method.recipe, learning_rate=learning_rate)
        if self.occasions.magnifies(facts.step):
            self.exchange.magnify(magnify(facts, findings.stage))
        if probe is None or not self.occasions.compares_with_base(facts.step):
            return metrics
        overlap = overlap_with_base(probe, self.method.backend, token_budget=self.token_budget)
        return metrics | {"rlvr_learner_entropy_overlap_ratio": overlap}


def probe_for(known: Probe | None, facts: StepFacts, findings: Findings) -> Probe | None:
    """The run's probe: the one it has, or rows of this step if the base model started it."""
    return probe_of(findings.stage) if known is None and facts.step == 1 else known


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
