"""READ THIS FIRST: one prompt's story, from its place in the stream to a judged group with a fate.

Nothing here remembers anything, so a story that is cut short is simply told again, with the same words.
"""

from __future__ import annotations

from dataclasses import dataclass

from rlvr_trainer.coordinator.admission import Limits, fate
from rlvr_trainer.coordinator.generation import Sampling, seed_of
from rlvr_trainer.coordinator.judge import Judge
from rlvr_trainer.coordinator.rollouts import Rollouts
from rlvr_trainer.data.stream import PromptStream
from rlvr_trainer.metrics import Board
from rlvr_trainer.samples import Fate, ScoredGroup


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """Everyone a training prompt meets."""

    prompts: PromptStream
    rollouts: Rollouts
    judge: Judge
    sampling: Sampling
    job_seed: int
    limits: Limits
    board: Board


@dataclass(frozen=True, slots=True, kw_only=True)
class Produced:
    """A judged group and what becomes of it."""

    scored: ScoredGroup
    fate: Fate


async def produce(position: int, production: Production) -> Produced:
    """Prompt -> group -> verdicts -> fate."""
    prompt = production.prompts.prompt(position)
    seed = seed_of(production.job_seed, "train", position)
    group = await production.rollouts.sample(prompt, sampling=production.sampling, seed=seed)
    scored = await production.judge.score(group)
    count(scored, production.board)
    return Produced(scored=scored, fate=fate(scored, drops_flat=production.limits.drops_flat))


def count(scored: ScoredGroup, board: Board) -> None:
    """Tell the metrics about a judged group."""
    for completion, verdict in zip(scored.group.completions, scored.verdicts, strict=True):
        num_tokens = len(completion.token_ids)
        board.add("rlvr_coordinator_completion_tokens_total", num_tokens)
        board.observe("rlvr_coordinator_completion_length_tokens", num_tokens, outcome=verdict.outcome.value)
