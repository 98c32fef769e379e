"""Make the `arithmetic` base model: `python -m rlvr_trainer.models.make_arithmetic OUT --seed 0`.

A 344 K parameter Qwen2 that adds well when it writes the steps down but rarely chooses to, so that reinforcement
learning has one thing to find out: that reasoning pays.  The same seed and torch version give the same weights.
It knows five-term sums of single digits and nothing else.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.cache_utils import DynamicCache
from transformers.utils.logging import disable_progress_bar

from rlvr_trainer.models.arithmetic_card import Measured, StyleScore, model_card
from rlvr_trainer.models.arithmetic_task import (
    EOS,
    LONGEST_COMPLETION,
    PAD,
    UNKNOWN,
    Problem,
    character_tokenizer,
    final_answer,
    problems,
)

IGNORED = -100  # the label that cross_entropy skips
THREADS = 1  # part of the recipe: another number of threads sums in another order
HELD_OUT_SEED = (
    1_000_000_000  # far from the small seeds jobs use: reasoning-gym's entry i of seed s is entry 0 of s + i
)
HELD_OUT = 2000
TRAINING_SEED = 2_000_000_000


@dataclass(frozen=True)
class Stage:
    """One phase of supervised training; `steps_share` is the share of demonstrations that write steps."""

    name: str
    updates: int
    batch: int
    learning_rate: float
    steps_share: float


STAGES = (
    Stage("steps", updates=1000, batch=64, learning_rate=3e-3, steps_share=1.0),
    Stage("both", updates=560, batch=128, learning_rate=2e-3, steps_share=0.3),
    Stage("tilt", updates=60, batch=256, learning_rate=3e-4, steps_share=0.14),
)


def untrained(tokenizer: Tokenizer) -> Qwen2ForCausalLM:
    # Heads of 32, an untied output: vLLM's CPU backend knows no smaller heads and reloads tied weights wrongly.
    shape = Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=96,
        intermediate_size=264,
        num_hidden_layers=3,
        num_attention_heads=3,
        num_key_value_heads=3,
        max_position_embeddings=256,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(EOS),
        pad_token_id=tokenizer.token_to_id(PAD),
        dtype="float32",
    )
    return Qwen2ForCausalLM(shape)


def demonstrations(stage: Stage, dice: random.Random, stream: Iterator[Problem]) -> list[tuple[str, str]]:
    """One batch of (prompt, completion)."""
    batch = [next(stream) for _ in range(stage.batch)]
    return [(p.prompt, p.steps() if dice.random() < stage.steps_share else p.direct()) for p in batch]


def rows(tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]]) -> tuple[Tensor, Tensor]:
    """Right-padded token ids and labels, both [rows, tokens]; only the completion and its end are learned."""
    end, pad = tokenizer.token_to_id(EOS), tokenizer.token_to_id(PAD)
    prompts = [tokenizer.encode(prompt).ids for prompt, _ in pairs]
    completions = [[*tokenizer.encode(completion).ids, end] for _, completion in pairs]
    longest = max(len(p) + len(c) for p, c in zip(prompts, completions, strict=True))
    ids = [p + c + [pad] * (longest - len(p) - len(c)) for p, c in zip(prompts, completions, strict=True)]
    labels = [
        [IGNORED] * len(p) + c + [IGNORED] * (longest - len(p) - len(c))
        for p, c in zip(prompts, completions, strict=True)
    ]
    return torch.tensor(ids), torch.tensor(labels)


def gradient(model: Qwen2ForCausalLM, tokenizer: Tokenizer, pairs: list[tuple[str, str]]) -> float:
    """Add the gradient of the mean completion-token loss of `pairs`; returns that loss in nats.

    Short and long rows go separately, so that direct answers are not padded to the length of written steps.
    """
    lengths = [len(completion) + 1 for _, completion in pairs]
    total, loss = sum(lengths), 0.0
    for steps in (False, True):
        part = [pair for pair in pairs if ("=" in pair[1]) == steps]
        if not part:
            continue
        ids, labels = rows(tokenizer, part)
        # No attention mask: rows are padded on the right, where causal attention never looks.
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        summed = cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum")
        torch.autograd.backward(summed / total)
        loss += summed.item() / total
    return loss


def learning_rate(stage: Stage, update: int, *, warmup: int = 40) -> float:
    """Linear warm-up, then a cosine down to a twentieth."""
    cosine = 0.5 + 0.5 * math.cos(math.pi * update / stage.updates)
    return stage.learning_rate * min(1.0, (update + 1) / warmup) * (0.05 + 0.95 * cosine)


def train(model: Qwen2ForCausalLM, tokenizer: Tokenizer, *, stage: Stage, stream: Iterator[Problem], seed: int) -> None:
    """Run one stage in place, with fresh optimizer moments."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=stage.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    dice, began = random.Random(f"{stage.name} {seed}"), time.monotonic()
    for update in range(stage.updates):
        optimizer.param_groups[0]["lr"] = learning_rate(stage, update)
        optimizer.zero_grad()
        loss = gradient(model, tokenizer, demonstrations(stage, dice, stream))
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (update + 1) % 50 == 0:
            say(f"{stage.name} {update + 1}/{stage.updates}: loss {loss:.3f}, {time.monotonic() - began:.0f} s")


@torch.no_grad()
def complete(
    model: Qwen2ForCausalLM, tokenizer: Tokenizer, prompts: Sequence[str], *, temperature: float, seed: int = 0
) -> list[str]:
    """One completion for each prompt, all of one length; temperature 0 takes the likeliest token."""
    dice = torch.Generator().manual_seed(seed)
    end = tokenizer.token_to_id(EOS)
    tokens = torch.tensor([tokenizer.encode(prompt).ids for prompt in prompts])
    cache, written = DynamicCache(config=model.config), []
    for _ in range(LONGEST_COMPLETION):
        logits = model(input_ids=tokens, past_key_values=cache, use_cache=True).logits[:, -1]
        likeliest = logits.argmax(-1, keepdim=True)
        sampled = torch.multinomial((logits / max(temperature, 1e-6)).softmax(-1), 1, generator=dice)
        tokens = sampled if temperature > 0 else likeliest
        written.append(tokens)
    lines: list[list[int]] = torch.cat(written, 1).tolist()
    return [tokenizer.decode(line[: line.index(end)] if end in line else line) for line in lines]


def measure(model: Qwen2ForCausalLM, tokenizer: Tokenizer, held_out: Sequence[Problem]) -> Measured:
    prompts = [problem.prompt for problem in held_out]
    sampled = complete(model, tokenizer, prompts, temperature=1.0)
    greedy = complete(model, tokenizer, prompts, temperature=0.0)
    hits = rightness(sampled, held_out)
    stepped = ["=" in completion for completion in sampled]
    return Measured(
        steps=StyleScore.of([hit for hit, steps in zip(hits, stepped, strict=True) if steps]),
        direct=StyleScore.of([hit for hit, steps in zip(hits, stepped, strict=True) if not steps]),
        greedy=sum(rightness(greedy, held_out)) / len(greedy),
    )


def rightness(completions: Sequence[str], of: Sequence[Problem]) -> list[bool]:
    return [final_answer(text) == problem.answer for text, problem in zip(completions, of, strict=True)]


def save(model: Qwen2ForCausalLM, tokenizer: Tokenizer, out: Path) -> None:
    end, pad = model.config.eos_token_id, model.config.pad_token_id
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=pad, do_sample=True, temperature=1.0)
    disable_progress_bar()
    model.save_pretrained(out)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=UNKNOWN,
        model_max_length=256,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    ).save_pretrained(out)


def make(out: Path, *, seed: int) -> Measured:
    """Train, measure and write the whole directory."""
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(mode=True)
    torch.manual_seed(seed)
    held_out = list(problems(size=HELD_OUT, seed=HELD_OUT_SEED))
    tokenizer = character_tokenizer()
    model = untrained(tokenizer)
    stream = unseen_problems(held_out)
    for stage in STAGES:
        train(model, tokenizer, stage=stage, stream=stream, seed=seed)
        measured = measure(model, tokenizer, held_out)
        say(f"after {stage.name}: {measured.sentence()}")
    save(model, tokenizer, out)
    (out / "README.md").write_text(model_card(measured, seed=seed, parameters=model.num_parameters()))
    return measured


def unseen_problems(held_out: Sequence[Problem]) -> Iterator[Problem]:
    """Problems to train on, as many as anybody could want."""
    kept_back = {problem.expression for problem in held_out}
    return (
        problem for problem in problems(size=1_000_000_000, seed=TRAINING_SEED) if problem.expression not in kept_back
    )


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train the arithmetic base model and write its directory.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    say(make(options.out, seed=options.seed).sentence())


if __name__ == "__main__":
    main()
