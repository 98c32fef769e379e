"""Whether the policy still is uncertain where the base model was: overlap on tokens that stay the same all run long.

The tokens are completions of the first step, whose starting policy is the base model, so its entropies cost nothing.
Both selections take the most uncertain fifth (2506.01939 section 5).  They travel in the checkpoint; a run that resumes
from one without them measures no overlap.

B rows, S positions, T completion tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlvr_trainer.algorithms.entropy import overlap, top_share
from rlvr_trainer.learner.backends.base import Backend
from rlvr_trainer.learner.batching import Batch
from rlvr_trainer.learner.microbatches import plan_passes
from rlvr_trainer.learner.step import Stage, look

_ROWS: Final = 32
_SHARE: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """Completions with their prompts, and where the base model was most uncertain."""

    tokens_BS: Tensor
    prompt_lengths_B: Tensor
    completion_lengths_B: Tensor
    uncertain_BT: Tensor

    def batch(self, device: torch.device) -> Batch:
        """As the look wants it; nothing in it was ever rewarded."""
        shape = self.uncertain_BT.shape
        return Batch(
            tokens_BS=self.tokens_BS,
            prompt_lengths_B=self.prompt_lengths_B,
            completion_lengths_B=self.completion_lengths_B,
            mask_BT=torch.arange(shape[1]) < self.completion_lengths_B[:, None],
            sampling_BT=torch.zeros(shape),
            reward_PG=torch.zeros(shape[0], 1),
            advantage_B1=torch.zeros(shape[0], 1),
        ).to(device)


def probe_of(stage: Stage) -> Probe:
    """Rows of the run's first step, from as many prompts as can be; by now the stage knows their entropies."""
    batch = stage.batch
    rows = spread(len(batch.tokens_BS), _ROWS)
    return Probe(
        tokens_BS=batch.tokens_BS[rows].cpu(),
        prompt_lengths_B=batch.prompt_lengths_B[rows].cpu(),
        completion_lengths_B=batch.completion_lengths_B[rows].cpu(),
        uncertain_BT=top_share(stage.start.entropy_BT[rows], batch.mask_BT[rows], share=_SHARE).cpu(),
    )


def spread(num_rows: int, most: int) -> list[int]:
    """At most `most` of the rows, evenly: neighbours answer the same prompt, often in the same words."""
    return [index * num_rows // most for index in range(most)] if num_rows > most else list(range(num_rows))


def overlap_with_base(probe: Probe, policy: Backend, *, token_budget: int) -> float:
    """Share of the base model's most uncertain tokens that are the policy's too; no gradient is taken."""
    batch = probe.batch(policy.device)
    lengths = (batch.prompt_lengths_B + batch.completion_lengths_B).tolist()
    seen = look(policy, batch, plan_passes(lengths, range(len(lengths)), token_budget=token_budget))
    uncertain_BT = top_share(seen.entropy_BT, batch.mask_BT, share=_SHARE)
    return float(overlap(probe.uncertain_BT.to(policy.device), uncertain_BT))


def save_probe(path: Path, probe: Probe) -> None:
    save_file({name: getattr(probe, name).contiguous() for name in Probe.__dataclass_fields__}, path)


def load_probe(path: Path) -> Probe:
    return Probe(**load_file(path))
