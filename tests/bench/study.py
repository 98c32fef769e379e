"""Six presets on the arithmetic task, several seeds each: one table, one figure, one line of JSON.

    python tests/bench/study.py --steps 40 --seeds 0 1 2 --folder runs/study [--docs docs/concepts]

Trains examples/arithmetic-PRESET.yaml as a user would, one run after the other.  A finished run in the folder is not
made again, an unfinished one goes on where it was, so the command may be stopped and repeated.  With --docs, the table
in study.md (between its markers) and figures/study.png are written anew; the text around the table is people's.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from e2e.running import result, run_to_end
from rlvr_trainer.one_machine.report.history import read_record
from rlvr_trainer.samples import StepReport

EXAMPLES: Final = Path(__file__).parents[2] / "examples"
PRESETS: Final = {
    "grpo": "grpo",
    "dapo": "dapo",
    "highEntropy20": "high-entropy",
    "archer": "archer",
    "laserD": "laser-d",
    "mgpo": "mgpo",
}
"""Preset -> its example."""
GOAL: Final = 0.8
WINDOW: Final = 3
"""Steps whose mean accuracy must reach the goal, so that one lucky step does not."""
BEGIN, END = "<!-- table: make study -->", "<!-- end of table -->"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run of the study found."""

    preset: str
    seed: int
    before: float
    """Held-out accuracy of the base model."""
    accuracy: float
    """Held-out, after the last step."""
    tokens: float
    """Mean length of held-out answers after the last step."""
    entropy: float
    """Nats a token, mean over the last ten steps."""
    steps_to_goal: int | None
    sampled: int
    """Tokens sampled for training, also those of groups that were dropped."""
    curve: tuple[tuple[int, float], ...]
    """Step and accuracy of everything sampled for it: prompts seen for the first time."""


def main() -> None:
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    runs = []
    for preset in options.presets:
        for seed in options.seeds:
            runs.append(one_run(preset, seed, steps=options.steps, folder=options.folder))
            print(_progress(runs[-1]), flush=True)
    lines = list(table(runs, steps=options.steps))
    print("\n".join(lines))
    draw(runs, options.folder / "study.png")
    if options.docs is not None:
        write_docs(lines, runs, options.docs)
    print(json.dumps({"steps": options.steps, "runs": [asdict(run) | {"curve": len(run.curve)} for run in runs]}))


def one_run(preset: str, seed: int, *, steps: int, folder: Path) -> Run:
    """Train it, unless it is there."""
    place = (folder / f"{preset}-seed{seed}-steps{steps}").absolute()
    if not (place / "result.json").exists():
        example = EXAMPLES / f"arithmetic-{PRESETS[preset]}.yaml"
        settings = (f"spec.training.steps={steps}", f"spec.training.seed={seed}")
        run_to_end(place, *settings, job=example, timeout=3600)
    return read_run(preset, seed, place)


def read_run(preset: str, seed: int, place: Path) -> Run:
    """The numbers of a finished run."""
    found = result(place)
    record = read_record(place / "work", checkpoints=(place / "checkpoints").as_uri(), result=found)
    curve = tuple((report.step, report.metrics["rlvr_learner_accuracy_ratio"]) for report in record.reports)
    return Run(
        preset=preset,
        seed=seed,
        before=found["evalAccuracyBefore"],
        accuracy=found["evalAccuracyAfter"],
        tokens=max(record.evaluations, key=lambda evaluation: evaluation.step).mean_tokens,
        entropy=statistics.fmean(_entropies(record.reports[-10:])),
        steps_to_goal=steps_to([accuracy for _, accuracy in curve], goal=GOAL),
        sampled=found["tokens"],
        curve=curve,
    )


def steps_to(accuracies: Sequence[float], *, goal: float) -> int | None:
    """The first step that ends a window of WINDOW steps with a mean of at least `goal`; None when there is none."""
    windows = (accuracies[end - WINDOW : end] for end in range(WINDOW, len(accuracies) + 1))
    return next((step for step, window in enumerate(windows, start=WINDOW) if statistics.fmean(window) >= goal), None)


def table(runs: Sequence[Run], *, steps: int) -> Iterator[str]:
    """Markdown: a row a preset, mean and range over its seeds."""
    seeds = sorted({run.seed for run in runs})
    yield (
        f"Base model: held-out accuracy {statistics.fmean(run.before for run in runs):.3f}.  "
        f"{steps} steps; seeds {', '.join(map(str, seeds))}; mean (smallest to largest)."
    )
    yield ""
    yield "| Preset | Final accuracy | Mean tokens | Entropy (nats) | Steps to 80 % | Tokens sampled (millions) |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for preset, group in _by_preset(runs).items():
        cells = (
            _spread([run.accuracy for run in group], digits=3),
            _spread([run.tokens for run in group], digits=1),
            _spread([run.entropy for run in group], digits=3),
            _steps_cell([run.steps_to_goal for run in group]),
            f"{statistics.fmean(run.sampled for run in group) / 1e6:.2f}",
        )
        yield f"| `{preset}` | {' | '.join(cells)} |"


def draw(runs: Sequence[Run], path: Path) -> None:
    """Accuracy by step, and final accuracy against length."""
    figure, (by_step, by_length) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2), layout="constrained")
    for color, (preset, group) in enumerate(_by_preset(runs).items()):
        _draw_preset(by_step, by_length, group, name=preset, color=f"C{color}")
    by_step.set(title="Accuracy on new prompts", xlabel="step", ylim=(0, 1.02))
    by_step.axhline(GOAL, color="0.7", linewidth=0.8, zorder=0)
    by_length.set(title="Held-out, after the last step", xlabel="mean tokens", ylabel="accuracy")
    by_step.legend(frameon=False)
    for axes in (by_step, by_length):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    plt.close(figure)


def write_docs(lines: Sequence[str], runs: Sequence[Run], folder: Path) -> None:
    """Put the table between the markers of study.md, and the figure beside it."""
    page = folder / "study.md"
    head, rest = page.read_text().split(BEGIN)
    figure = "![Accuracy by step, and against length](figures/study.png)"
    page.write_text("\n".join([f"{head}{BEGIN}", *lines, "", figure, f"{END}{rest.split(END)[1]}"]))
    draw(runs, folder / "figures" / "study.png")


def _draw_preset(by_step: Axes, by_length: Axes, group: Sequence[Run], *, name: str, color: str) -> None:
    steps = [step for step, _ in group[0].curve]
    curves = [[accuracy for _, accuracy in run.curve] for run in group]
    by_step.plot(steps, [statistics.fmean(values) for values in zip(*curves, strict=True)], color=color, label=name)
    spans = [(min(values), max(values)) for values in zip(*curves, strict=True)]
    by_step.fill_between(steps, *zip(*spans, strict=True), color=color, alpha=0.12, linewidth=0)
    by_length.scatter([run.tokens for run in group], [run.accuracy for run in group], color=color, s=28)


def _by_preset(runs: Sequence[Run]) -> Mapping[str, list[Run]]:
    return {preset: [run for run in runs if run.preset == preset] for preset in dict.fromkeys(r.preset for r in runs)}


def _entropies(reports: Sequence[StepReport]) -> list[float]:
    return [report.metrics["rlvr_learner_entropy_nats"] for report in reports]


def _spread(values: Sequence[float], *, digits: int) -> str:
    mean = f"{statistics.fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _steps_cell(values: Sequence[int | None]) -> str:
    reached = [value for value in values if value is not None]
    if not reached:
        return "not reached"
    missing = f"; {len(values) - len(reached)} not" if len(reached) < len(values) else ""
    return f"{_spread(reached, digits=0)}{missing}"


def _progress(run: Run) -> str:
    return f"{run.preset} seed {run.seed}: {run.before:.3f} -> {run.accuracy:.3f}, {run.sampled / 1e6:.2f} M tokens"


def _options() -> Any:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--folder", type=Path, default=Path("runs/study"))
    parser.add_argument("--docs", type=Path, help="folder of study.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
