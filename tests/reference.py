"""What transformers, and the learner, say about tokens that somebody sampled."""

from collections.abc import Mapping, Sequence
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


def expect_each_range_to_be_its_versions(choice: Any, prompt: Sequence[int], models: Mapping[str, Any]) -> None:
    """A completion of vLLM says which policy made which of its tokens: each must be what that policy's model says."""
    spans = choice["weight_versions"]
    assert [span["start"] for span in spans] == [0, *(span["end"] for span in spans)][:-1]
    assert spans[-1]["end"] == len(choice["token_ids"])
    logprobs = np.array([entry["logprob"] for entry in choice["logprobs"]["content"]])
    for span in spans:
        expected = reference_logprobs(models[span["version"]], prompt, choice["token_ids"])
        part = slice(span["start"], span["end"])
        np.testing.assert_allclose(logprobs[part], expected[part], atol=1e-4, rtol=0)


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
