"""What the learner is measured against: a plain training loop of transformers and torch, and batches of uneven rows.

The loop does what most do: rows padded to the longest of a pass, logits of every place at once, AdamW, one update on
DAPO's loss.  It shares the numbers of the batch (advantages) and the passes with the learner, and nothing else.
"""

import json
import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from learning import a_completion, a_scored_group, facts_of
from rlvr_trainer.learner.batching import Batch
from rlvr_trainer.samples import Outcome, StepFacts

Rows = tuple[int, ...]


def a_qwen2_folder(folder: Path, *, device: str = "cpu", **shape: Any) -> Path:
    """A Qwen2 with random weights, its tokenizer a file that nobody reads."""
    torch.manual_seed(0)
    config = Qwen2Config(tie_word_embeddings=True, dtype="float32", **shape)
    with torch.device(device):
        Qwen2ForCausalLM(config).save_pretrained(folder)
    (folder / "tokenizer.json").write_text(json.dumps({}))
    return folder


def uneven_facts(*, num_groups: int, group_size: int, longest: int, vocabulary: int, prompt: int = 32) -> StepFacts:
    """A step whose completions are mostly short and sometimes `longest`: log-normal lengths, as reasoning has them."""
    dice = random.Random(0)

    def length() -> int:
        return max(1, min(longest, round(dice.lognormvariate(math.log(longest / 5), 0.9))))

    def tokens(size: int) -> list[int]:
        return [dice.randrange(vocabulary) for _ in range(size)]

    groups = []
    for position in range(num_groups):
        completions = [a_completion(tokens(length())) for _ in range(group_size)]
        outcomes = [Outcome.CORRECT, *[Outcome.WRONG] * (group_size - 1)]
        groups.append(a_scored_group(position, completions, outcomes, prompt=tokens(prompt)))
    return facts_of(1, groups)


def waste(lengths: Sequence[int], passes: Iterable[Rows], *, packs: bool) -> float:
    """Share of computed positions that are pads."""
    if packs:
        return 0.0
    computed = sum(len(rows) * max(lengths[row] for row in rows) for rows in passes if rows)
    return 1 - sum(lengths[row] for rows in passes for row in rows) / computed


class PlainLoop:
    """The textbook."""

    def __init__(self, folder: Path, *, device: str, dtype: torch.dtype) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
        self.model.to(device)
        self._optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6, fused=True)
        self._device = device
        self._dtype = dtype

    def step(self, batch: Batch, passes: Iterable[Rows]) -> float:
        """One update; returns the norm of its gradient."""
        for rows in passes:
            torch.autograd.backward(self._loss(batch, rows))
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0))
        self._optimizer.step()
        self._optimizer.zero_grad()
        return norm

    def _loss(self, batch: Batch, rows: Rows) -> Tensor:
        """DAPO on the policy that starts the step: every ratio is 1, its gradient is that of the log-probability."""
        index = list(rows)
        lengths = (batch.prompt_lengths_B + batch.completion_lengths_B)[index]
        tokens = batch.tokens_BS[index, : int(lengths.max())]
        places = torch.arange(tokens.shape[1], device=tokens.device)
        with torch.autocast(self._device, dtype=self._dtype, enabled=self._dtype is not torch.float32):
            logits = self.model(input_ids=tokens, attention_mask=(places < lengths[:, None]).long()).logits[:, :-1]
        logprobs = logits.float().log_softmax(-1)
        chosen = logprobs.gather(-1, tokens[:, 1:, None])[..., 0]
        with torch.no_grad():
            self.entropy = -(logprobs.exp() * logprobs).sum(-1)  # every loop logs it
        answered = (places[1:] >= batch.prompt_lengths_B[index, None]) & (places[1:] < lengths[:, None])
        ratio = (chosen - chosen.detach()).exp()
        return -(batch.advantage_B1[index] * ratio * answered).sum() / batch.num_tokens
