"""Local engine against `transformers.generate`: the shipped model, the same prompts, batch, sampling and threads.

Both sample 4 completions of 64 prompts at temperature 1, up to 64 tokens, in rounds that alternate.  Tokens are those
of the completions, end token included; generate goes on computing rows that have ended, so the same is measured a
second time with every completion 64 tokens long.  The last line is one JSON object.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from reference import learner_logprobs, load_reference, reference_logprobs
from rlvr_trainer.engines.local.engine import Engine, open_engine
from rlvr_trainer.engines.local.requests import Choice, Request, Sampling
from rlvr_trainer.learner.models import load_policy
from rlvr_trainer.models import builtin_path
from rlvr_trainer.models.arithmetic_task import problems

PROMPTS, COMPLETIONS, MAX_TOKENS = 64, 4, 64
FOLDER = builtin_path("arithmetic")
PAD, END = 0, 1

Round = Callable[[int, tuple[int, ...]], int]
"""(number, tokens that end a completion) -> completion tokens sampled."""


def complete(engine: Engine, prompts: list[list[int]], number: int, ends: tuple[int, ...]) -> list[list[Choice]]:
    """The completions of every prompt, all prompts in one batch."""
    finished: list[list[Choice]] = [[] for _ in prompts]
    for index, token_ids in enumerate(prompts):
        sampling = Sampling(
            num_completions=COMPLETIONS,
            temperature=1.0,
            top_p=1.0,
            top_k=engine.architecture.vocabulary,
            max_tokens=MAX_TOKENS,
            seed=number * 10_000 + index * COMPLETIONS,
            end_token_ids=ends,
            stop_token_ids=(),
        )
        request = Request(request_id=f"{number}-{index}", token_ids=tuple(token_ids), sampling=sampling)
        engine.submit(request, finished[index].extend)
    while not engine.is_idle:
        engine.step()
    return finished


def engine_round(engine: Engine, prompts: list[list[int]]) -> Round:
    def run(number: int, ends: tuple[int, ...]) -> int:
        return sum(len(one.token_ids) for choices in complete(engine, prompts, number, ends) for one in choices)

    return run


def logprob_gaps(engine: Engine, prompts: list[list[int]]) -> dict[str, float]:
    """Nats between sampling log-probabilities, the learner's, a plain transformers pass, and that pass in float64."""
    policy, single, double = (
        load_policy(FOLDER, temperature=1.0),
        load_reference(FOLDER),
        load_reference(FOLDER).double(),
    )
    gaps: dict[str, list[float]] = {"learner": [], "transformers": [], "float32": []}
    for prompt, choices in zip(prompts, complete(engine, prompts, 99, (END,)), strict=True):
        completions = [choice.token_ids.tolist() for choice in choices]
        learned = learner_logprobs(policy, prompt, completions)
        for choice, completion, expected in zip(choices, completions, learned, strict=True):
            plain = reference_logprobs(single, prompt, completion)
            gaps["learner"] += abs(choice.logprobs - expected).tolist()
            gaps["transformers"] += abs(choice.logprobs - plain).tolist()
            gaps["float32"] += abs(plain - reference_logprobs(double, prompt, completion)).tolist()
    return {
        "logprobGapMean": statistics.mean(gaps["learner"]),
        "logprobGapMax": max(gaps["learner"]),
        "logprobGapToTransformersMax": max(gaps["transformers"]),
        "logprobGapTransformersToFloat64Max": max(gaps["float32"]),
        "logprobTokens": len(gaps["learner"]),
    }


def generate_round(prompts: list[list[int]]) -> Round:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    model = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=torch.float32).eval()
    longest = max(map(len, prompts))
    tokens = torch.tensor([[PAD] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])

    def run(number: int, ends: tuple[int, ...]) -> int:
        torch.manual_seed(number)
        sampled = model.generate(
            tokens,
            attention_mask=mask,
            do_sample=True,
            temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=MAX_TOKENS,
            num_return_sequences=COMPLETIONS,
            pad_token_id=PAD,
            eos_token_id=list(ends) or None,
        )[:, longest:]
        is_end = torch.isin(sampled, torch.tensor(ends, dtype=torch.long))
        return int((is_end.cumsum(1) - is_end.long() == 0).sum())

    return run


def measure(ours: Round, theirs: Round, *, rounds: int, ends: tuple[int, ...]) -> tuple[float, float]:
    """Median tokens per second of both, rounds alternating; the first round of each is not counted."""
    speeds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for run, collected in zip((ours, theirs), speeds, strict=True):
            began = time.perf_counter()
            tokens = run(number, ends)
            collected.append(tokens / (time.perf_counter() - began))
    return statistics.median(speeds[0][1:]), statistics.median(speeds[1][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    tokenizer = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
    prompts = [tokenizer.encode(problem.prompt).ids for problem in problems(size=PROMPTS, seed=77_000_000)]
    engine = open_engine(FOLDER, max_concurrent=PROMPTS * COMPLETIONS, max_context=None, dtype=torch.float32)
    ours, theirs = engine_round(engine, prompts), generate_round(prompts)

    natural = measure(ours, theirs, rounds=options.rounds, ends=(END,))
    full = measure(ours, theirs, rounds=options.rounds, ends=())

    print(
        f"{PROMPTS} prompts x {COMPLETIONS} completions, {options.threads} thread(s), median of {options.rounds} rounds"
    )
    print(f"  ending by themselves: engine {natural[0]:9,.0f} tokens/s, generate {natural[1]:9,.0f} tokens/s")
    print(f"  all {MAX_TOKENS} tokens long:   engine {full[0]:9,.0f} tokens/s, generate {full[1]:9,.0f} tokens/s")
    result = {
        "speedup": natural[0] / natural[1],
        "engineTokensPerSecond": natural[0],
        "generateTokensPerSecond": natural[1],
        "speedupFullLength": full[0] / full[1],
        "engineTokensPerSecondFullLength": full[0],
        "generateTokensPerSecondFullLength": full[1],
        "threads": options.threads,
    }
    rounded = {key: round(value, 2) for key, value in result.items()}
    print(json.dumps(rounded | logprob_gaps(engine, prompts)))


if __name__ == "__main__":
    main()
