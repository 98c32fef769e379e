"""What transformers, and the learner, say about tokens that somebody sampled."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from rlvr_trainer.learner.models import Policy


def load_reference(folder: Path) -> Any:
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def reference_logprobs(
    model: Any, prompt: Sequence[int], completion: Sequence[int], *, temperature: float = 1.0
) -> npt.NDArray[np.float32]:
    """ln p of each completion token, from one forward pass over the whole sequence."""
    tokens = torch.tensor([[*prompt, *completion]])
    logprobs = torch.log_softmax(model(tokens).logits[0] / temperature, -1)
    predicted = logprobs[len(prompt) - 1 : -1].gather(1, tokens[0, len(prompt) :, None]).squeeze(1)
    return predicted.numpy()


@torch.no_grad()
def learner_logprobs(
    policy: Policy, prompt: Sequence[int], completions: Sequence[Sequence[int]]
) -> list[npt.NDArray[np.float32]]:
    """ln p of the tokens of each completion, from one pass of the learner over all of them, padded."""
    first, width = len(prompt) - 1, len(prompt) + max(map(len, completions))
    rows = [[*prompt, *completion] + [0] * (width - len(prompt) - len(completion)) for completion in completions]
    places = [row * width + first + index for row, one in enumerate(completions) for index in range(len(one))]
    targets = [token for completion in completions for token in completion]
    lengths = [len(prompt) + len(completion) for completion in completions]
    logprobs, _ = policy(*map(torch.tensor, (rows, lengths, places, targets)))
    return [part.numpy() for part in logprobs.split([len(completion) for completion in completions])]
