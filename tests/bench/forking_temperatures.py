"""The decoding experiment of "Beyond the 80/20 rule" (2506.01939): a temperature for forking tokens, one for the rest.

    python tests/bench/forking_temperatures.py [--model DIR] [--problems 400] [--completions 16] [--figure FILE]

One temperature is varied while the other stays 1.  A token forks where its entropy at temperature 1 is strictly above
the 80th percentile, measured on completions of this model (the paper's 0.672 nats is Qwen3-8B's).  The last line is one
JSON object; its baseline is both temperatures at 1, in the same run.  Limits: the default model and task are tiny.
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import matplotlib.pyplot as plt
import numpy as np
import torch

from arithmetic_answers import Exam, an_exam, answers, entropies
from reference import load_reference
from rlvr_trainer.engines.local.requests import Fork
from rlvr_trainer.models import builtin_path

TEMPERATURES: Final = (0.0, 0.05, 0.3, 0.6, 1.0, 2.0, 3.0, 5.0)
"""The paper's, read off its axis."""
QUANTILE: Final = 0.8


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What one pair of temperatures gives."""

    forking: float
    other: float
    accuracy: float
    tokens: float


def main() -> None:
    options = _options()
    torch.set_num_threads(1)
    exam = an_exam(size=options.problems, completions=options.completions, folder=options.model)
    threshold = entropy_quantile(exam, options.model)
    pairs = dict.fromkeys([*((t, 1.0) for t in TEMPERATURES), *((1.0, t) for t in TEMPERATURES)])
    marks = [mark(exam, threshold=threshold, forking=forking, other=other) for forking, other in pairs]
    print("\n".join(table(marks, threshold=threshold)))
    if options.figure is not None:
        draw(marks, options.figure)
    baseline = next(one.accuracy for one in marks if (one.forking, one.other) == (1.0, 1.0))
    error = math.sqrt(baseline * (1 - baseline) / (options.problems * options.completions))
    print(
        json.dumps({"threshold": round(threshold, 4), "standardError": error, "marks": [asdict(one) for one in marks]})
    )


def mark(exam: Exam, *, threshold: float, forking: float, other: float) -> Mark:
    """Accuracy and length at one pair of temperatures."""
    fork = Fork(threshold=threshold, temperature=forking)
    replies = answers(exam, temperature=other, fork=fork)
    right = [
        exam.is_right(question, choice)
        for question, choices in zip(exam.questions, replies, strict=True)
        for choice in choices
    ]
    lengths = [len(choice.token_ids) for choices in replies for choice in choices]
    return Mark(forking=forking, other=other, accuracy=float(np.mean(right)), tokens=float(np.mean(lengths)))


def entropy_quantile(exam: Exam, folder: Path) -> float:
    """Nats below which 80 % of the tokens lie that the model writes at temperature 1, by transformers' forward pass."""
    model = load_reference(folder)
    found = [
        entropies(model, exam.tokenizer.encode(question.prompt).ids, choices[0].token_ids.tolist())
        for question, choices in zip(exam.questions, answers(exam), strict=True)
    ]
    return float(torch.cat(found).quantile(QUANTILE))


def table(marks: Sequence[Mark], *, threshold: float) -> Iterator[str]:
    """Markdown: a row a temperature."""
    yield f"Forking: entropy above {threshold:.3f} nats (the {QUANTILE:.0%} quantile).  Accuracy (mean tokens)."
    yield ""
    yield "| Temperature | of forking tokens, others at 1 | of other tokens, forking at 1 |"
    yield "| --- | --- | --- |"
    for temperature in TEMPERATURES:
        forking = next(one for one in marks if (one.forking, one.other) == (temperature, 1.0))
        other = next(one for one in marks if (one.forking, one.other) == (1.0, temperature))
        yield (
            f"| {temperature:g} | {forking.accuracy:.3f} ({forking.tokens:.1f}) | "
            f"{other.accuracy:.3f} ({other.tokens:.1f}) |"
        )


def draw(marks: Sequence[Mark], path: Path) -> None:
    """Accuracy by temperature, a line for each of the two."""
    plt.rcParams["svg.hashsalt"] = "forking"  # the same data give the same file
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    places = range(len(TEMPERATURES))
    for name, fixed, varied in (("forking tokens", "other", "forking"), ("other tokens", "forking", "other")):
        line = {getattr(one, varied): one.accuracy for one in marks if getattr(one, fixed) == 1.0}
        axes.plot(places, [line[temperature] for temperature in TEMPERATURES], marker="o", label=name)
    axes.set(xticks=list(places), xticklabels=[f"{t:g}" for t in TEMPERATURES], ylim=(0, 1))
    axes.set(xlabel="temperature of these tokens, 1 for the rest", ylabel="accuracy")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=builtin_path("arithmetic"))
    parser.add_argument("--problems", type=int, default=400)
    parser.add_argument("--completions", type=int, default=16)
    parser.add_argument("--figure", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
