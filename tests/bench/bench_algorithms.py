"""What every method at once costs over plain DAPO: one training step of the example job, in the same process, in turn.

`composed` is DAPO with the 80/20 mask, Archer's two trust regions and KL, MGPO's emphasis and Laser-D's targets.  Both
have two updates, so that both look at the batch first, and a reference that both score: what is left is the methods'
own work.  It is measured as the difference of two steps over a model that costs nothing, and `overhead` is its share of
DAPO's step with the real model; `stepRatio` compares whole steps with the real model, whose time varies by more than
that difference.  A single update without entropies needs no look: `look` is that pass's share of the step.
Times are processor seconds of one thread, so that neighbours on the machine count little; figures are medians.

`thresholds` is the exact selection among more than 2^24 tokens.  The last line is one JSON object; exit status 1 where
the overhead is above 1 %.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor

from learning import a_completion, a_scored_group, facts_of
from rlvr_api import RLVRJob
from rlvr_trainer.algorithms.entropy import kept_tokens, top_share
from rlvr_trainer.cli.manifest import load_manifest
from rlvr_trainer.learner.batching import build_batch
from rlvr_trainer.learner.microbatches import Dealing, MicroBatch, plan_step
from rlvr_trainer.learner.opening import open_method
from rlvr_trainer.learner.step import Method, take_step
from rlvr_trainer.learner.stopwatch import Stopwatch
from rlvr_trainer.samples import Monitoring, Outcome, StepFacts

EXAMPLE = Path(__file__).parents[2] / "examples" / "arithmetic-cpu.yaml"
REFERENCE = {"kl": {"coefficient": 1e-9}}
COMPOSED: dict[str, Any] = {
    "tokenSelection": {"topEntropy": {}},
    "trustRegion": {"archer": {}},
    "emphasis": {"mgpo": {}},
    "lengthReward": {"laserD": {"lowestTokens": 16, "gridStep": 8}},
}
WANTED = 0.01


def a_job(algorithm: dict[str, Any]) -> RLVRJob:
    """The example job under another algorithm."""
    job = load_manifest(EXAMPLE).model_dump(by_alias=True, exclude_none=True)
    job["spec"]["algorithm"] = {"preset": "dapo", **algorithm}
    return RLVRJob.model_validate_json(json.dumps(job))


def some_facts(job: RLVRJob) -> StepFacts:
    """A full batch of made-up answers in the example's sizes, right and wrong ones in every group."""
    training, dice = job.spec.training, random.Random(0)
    groups = []
    for position in range(training.prompts_per_step):
        completions = [
            a_completion([dice.randrange(3, 19) for _ in range(length)], logprobs=[-dice.uniform(0, 3)] * length)
            for length in (dice.randint(8, 64) for _ in range(training.group_size))
        ]
        outcomes = [Outcome.CORRECT, Outcome.WRONG]
        outcomes += dice.choices([Outcome.CORRECT, Outcome.WRONG], k=training.group_size - 2)
        groups.append(a_scored_group(position, completions, outcomes, prompt=[4] * 12))
    facts, targets = facts_of(1, groups), {"hard": 64, "medium": 32, "easy": 24}
    measured = Monitoring(step=0, length_targets=targets, num_prompts={}, accuracy=None, mean_tokens=None, num_errors=0)
    return with_state(facts, monitoring=measured)


def with_state(facts: StepFacts, **changes: Any) -> StepFacts:
    return msgspec.structs.replace(facts, state=msgspec.structs.replace(facts.state, **changes))


def cost(method: Method, facts: StepFacts, *, minibatches: int) -> float:
    """Processor seconds of one step, from facts to updated weights."""
    dealing = Dealing(minibatches=minibatches, epochs=1, seed=0, token_budget=2048)
    started = time.process_time()
    batch = build_batch(facts, method.recipe)
    take_step(batch, plan_step(batch, dealing, step=1), method, learning_rate=1e-9, watch=Stopwatch())
    return time.process_time() - started


@dataclass(frozen=True, slots=True)
class Costless:
    """A model that knows every token's log-probability and entropy at once."""

    noise: Tensor
    device: torch.device
    num_bytes: int = 0

    def statistics(self, micro: MicroBatch) -> tuple[Tensor, Tensor]:
        logprob_N, entropy_N = self.noise[:, : len(micro.targets_N)].clone()
        return (-logprob_N).requires_grad_(torch.is_grad_enabled()), entropy_N

    def backward(self, loss: Tensor) -> None:
        torch.autograd.backward(loss)

    def update(self, *, learning_rate: float) -> float:
        return learning_rate

    def weights(self) -> dict[str, Tensor]:
        return {}

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...


def without_model(method: Method) -> Method:
    backend = Costless(torch.rand(2, 8192, generator=torch.Generator().manual_seed(0)), torch.device("cpu"))
    return replace(method, backend=backend, reference=backend if method.reference is not None else None)


def medians(methods: Sequence[Method], facts: StepFacts, *, pairs: int, minibatches: int = 2) -> list[float]:
    """Seconds of each method, in turn; the first round only warms up."""
    rounds = [[cost(method, facts, minibatches=minibatches) for method in methods] for _ in range(pairs + 1)]
    return [statistics.median(column) for column in zip(*rounds[1:], strict=True)]


def compare(plain: Method, composed: Method, facts: StepFacts, *, pairs: int) -> dict[str, float]:
    whole, whole_composed = medians([plain, composed], facts, pairs=pairs)
    own, own_composed = medians([without_model(plain), without_model(composed)], facts, pairs=4 * pairs)
    single, looked = medians(
        [plain, replace(plain, recipe=replace(plain.recipe, has_classes=True))], facts, pairs=pairs, minibatches=1
    )
    return {
        "overhead": round((own_composed - own) / whole, 4),
        "stepRatio": round(whole_composed / whole, 4),
        "look": round(looked / single - 1, 4),
        "plainSeconds": round(whole, 4),
        "plainOwnSeconds": round(own, 4),
        "composedOwnSeconds": round(own_composed, 4),
    }


def threshold_cost() -> dict[str, float]:
    """Exact selection among 17 million tokens, right to the token."""
    entropy_BT = torch.rand(4096, 4112, generator=torch.Generator().manual_seed(0))
    mask_BT = torch.ones_like(entropy_BT, dtype=torch.bool)
    started = time.process_time()
    selected_BT = top_share(entropy_BT, mask_BT, share=0.2)
    seconds = time.process_time() - started
    assert int(selected_BT.sum()) == kept_tokens(entropy_BT.numel(), share=0.2)
    assert entropy_BT[selected_BT].min() >= entropy_BT[~selected_BT].max()
    return {"tokens": entropy_BT.numel(), "seconds": round(seconds, 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    jobs = [a_job(REFERENCE), a_job(COMPOSED)]
    plain, composed = (open_method(job.spec) for job in jobs)
    found = compare(plain, composed, some_facts(jobs[0]), pairs=options.pairs)
    print(json.dumps({**found, "thresholds": threshold_cost(), "pairs": options.pairs}))
    return int(found["overhead"] > WANTED)


if __name__ == "__main__":
    sys.exit(main())
