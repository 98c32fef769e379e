"""The figures of docs/concepts/algorithms/, drawn by the functions that train.

    python tests/bench/figures.py --folder docs/concepts/figures [--only clip-ranges]

Each figure is a function below, one file each.  The same code and machine give the same bytes.  Figures of runs are
drawn where they are measured: study.py and forking_temperatures.py.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from arithmetic_answers import Sampled, monitor_records, sampled_answers
from rlvr_trainer.algorithms import advantages, correction, emphasis, entropy, lengths, losses, targets

Draw = Callable[[], Figure]
STYLE: Final = {
    "svg.hashsalt": "figures",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}
BLUE, ORANGE, GREEN, GREY = "#2563c9", "#d1600f", "#0f8a6d", "#8a94a3"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("docs/concepts/figures"))
    parser.add_argument("--only", choices=FIGURES)
    options = parser.parse_args()
    plt.rcParams.update(STYLE)
    torch.set_num_threads(1)
    for name, draw in FIGURES.items():
        if options.only in (None, name):
            figure = draw()
            figure.savefig(options.folder / f"{name}.svg", metadata={"Date": None})
            plt.close(figure)
            print(options.folder / f"{name}.svg")


def draw_advantages() -> Figure:
    """What a right and a wrong answer are worth, by how many of 8 are right."""
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained", sharey=True)
    rewards_PG = torch.tensor([[1.0] * right + [0.0] * (8 - right) for right in range(1, 8)])
    kinds = {
        "groupNormalized (GRPO)": advantages.group_normalized,
        "centered (Dr.GRPO)": advantages.centered,
        "leaveOneOut (RLOO)": advantages.leave_one_out,
    }
    for place, name in ((0, "a right answer"), (-1, "a wrong answer")):
        for label, kind in kinds.items():
            axes[place].plot(range(1, 8), kind(rewards_PG)[:, place], marker="o", markersize=3.5, label=label)
        axes[place].set(title=name, xlabel="right answers among 8")
    axes[0].set(ylabel="advantage")
    axes[0].legend()
    return figure


def draw_kl() -> Figure:
    """The three estimators, by how much likelier the reference finds a token."""
    figure, axes = plt.subplots(figsize=(4.4, 2.8), layout="constrained")
    d = torch.linspace(-2, 2, 200)
    for name, estimator in (("k1", losses.kl_k1), ("k2", losses.kl_k2), ("k3", losses.kl_k3)):
        axes.plot(d, estimator(torch.zeros_like(d), d), label=name)
    axes.set(xlabel="ln reference - ln policy, of one token", ylabel="nats", ylim=(-2, 4.5))
    axes.axhline(0, color=GREY, linewidth=0.6)
    axes.legend()
    return figure


def draw_clip_ranges() -> Figure:
    """The push on a token's log-probability, by its ratio."""
    clip = losses.clipped_loss
    regions: dict[str, Callable[..., Tensor]] = {
        "GRPO 0.2 / 0.2": partial(clip, eps_low=0.2, eps_high=0.2),
        "DAPO 0.2 / 0.28, dual clip 10": partial(clip, eps_low=0.2, eps_high=0.28, dual_clip=10.0),
        "GRPO with dual clip 3": partial(clip, eps_low=0.2, eps_high=0.2, dual_clip=3.0),
    }
    return _pushes(regions, ratios=torch.linspace(0.05, 4, 1200))


def draw_archer() -> Figure:
    """Archer's two regions, and ASPO's weights."""
    clip = partial(losses.clipped_loss, dual_clip=10.0)
    regions = {
        "reasoning tokens, 0.5": partial(clip, eps_low=0.5, eps_high=0.5),
        "knowledge tokens, 0.2": partial(clip, eps_low=0.2, eps_high=0.2),
        "ASPO, 0.2 / 0.4, cap 3": _asymmetric,
    }
    return _pushes(regions, ratios=torch.linspace(0.05, 4, 1200))


def draw_gspo() -> Figure:
    """GSPO's range, a thousand times narrower, on the mean ratio of a completion."""
    region = partial(losses.clipped_loss, eps_low=3e-4, eps_high=4e-4)
    figure = _pushes({"0.0003 / 0.0004": region}, ratios=torch.linspace(0.9992, 1.0008, 800), of="sequence ratio")
    for axes in figure.axes:
        axes.set_xticks([0.9994, 0.9997, 1, 1.0004, 1.0007], ["0.9994", "0.9997", "1", "1.0004", "1.0007"])
    return figure


def _asymmetric(ratio: Tensor, advantage: Tensor) -> Tensor:
    return losses.asymmetric_loss(ratio.log(), advantage, eps_low=0.2, eps_high=0.4, cap=3.0)


def _pushes(regions: dict[str, Callable[..., Tensor]], *, ratios: Tensor, of: str = "ratio") -> Figure:
    """- d loss / d log-probability for advantages +1 and -1."""
    figure, both = plt.subplots(1, 2, figsize=(7.2, 2.8), layout="constrained")
    for axes, advantage in zip(both, (1.0, -1.0), strict=True):
        for style, (label, region) in zip(("-", "--", ":"), regions.items(), strict=False):
            logs = ratios.log().requires_grad_()
            region(logs.exp(), torch.tensor(advantage)).sum().backward()
            assert logs.grad is not None
            axes.plot(ratios, -logs.grad, label=label, linestyle=style)
        axes.set(title=f"advantage {advantage:+.0f}", xlabel=of)
        axes.axvline(1, color=GREY, linewidth=0.6)
    both[0].set(ylabel="push on the log-probability")
    both[-1].legend(loc="lower left")
    return figure


def draw_reductions() -> Figure:
    """How much a token counts, by the length of its answer: a batch of answers of 10 to 320 tokens, budget 320."""
    figure, axes = plt.subplots(figsize=(4.8, 2.8), layout="constrained")
    sizes = (10, 20, 40, 80, 160, 320)
    mask_BT = torch.arange(320)[None] < torch.tensor(sizes)[:, None]
    count = len(sizes)
    kinds: dict[str, Callable[[Tensor], Tensor]] = {
        "tokenMean (DAPO)": partial(losses.token_mean, mask_BT=mask_BT, num_tokens=sum(sizes)),
        "sequenceTokenMean (GRPO)": partial(losses.sequence_mean_of_token_means, mask_BT=mask_BT, num_sequences=count),
        "sequenceTokenSum": partial(losses.sequence_mean_of_token_sums, mask_BT=mask_BT, num_sequences=count),
        "constant (Dr.GRPO)": partial(losses.constant, mask_BT=mask_BT, num_sequences=count, budget=320),
    }
    for label, reduce in kinds.items():
        loss_BT = torch.zeros(mask_BT.shape, requires_grad=True)
        reduce(loss_BT).backward()
        assert loss_BT.grad is not None
        axes.plot(sizes, loss_BT.grad[:, 0], marker="o", markersize=3.5, label=label)
    axes.set(xscale="log", yscale="log", xlabel="tokens of the answer", ylabel="weight of one of its tokens")
    axes.legend()
    return figure


def draw_soft_overlong() -> Figure:
    """DAPO's punishment near the limit, at its published sizes."""
    figure, axes = plt.subplots(figsize=(4.4, 2.4), layout="constrained")
    tokens = torch.arange(12_000, 20_481)
    axes.plot(tokens, lengths.soft_overlong(tokens, max_tokens=20_480, cache=4096), color=ORANGE)
    axes.axvspan(20_480 - 4096, 20_480, color=ORANGE, alpha=0.08, linewidth=0)
    axes.set(xlabel="completion tokens", ylabel="added to the reward", ylim=(-1.05, 0.1))
    axes.text(18_432, 0.03, "cache", color=ORANGE, ha="center")
    return figure


def draw_length_rewards() -> Figure:
    """The family on one group: right and wrong answers of every length, target 400."""
    tokens = torch.arange(50, 1001, 10)
    spread = torch.cat([tokens, tokens])[None]
    correct = torch.cat([torch.ones_like(tokens), torch.zeros_like(tokens)]).bool()[None]
    base = torch.where(correct, 1.0, -0.5)
    at = {"target": 400}
    family: dict[str, Tensor] = {
        "truncation": lengths.truncation(base, spread, **at),
        "efficient": lengths.efficient(base, correct, spread.double(), alpha=0.4),
        "kimi": lengths.kimi(base, correct, spread),
        "l1Exact": lengths.l1_exact(base, spread, alpha=1e-3, **at),
        "l1Max": lengths.l1_max(correct, spread, alpha=1e-3, **at),
        "longToShort": emphasis.long_to_short(base, correct, spread, strength=0.2),
        "laser, laserD": lengths.laser(base, correct, spread, alpha=0.5, **at),
        "laserDE": lengths.laser_de(base, correct, spread, torch.ones_like(correct), alpha=0.5, **at),
    }
    figure, grid = plt.subplots(2, 4, figsize=(8.4, 3.8), layout="constrained", sharex=True, sharey=True)
    for axes, (name, reward) in zip(grid.flat, family.items(), strict=True):
        axes.plot(tokens, reward[0, : len(tokens)], color=GREEN, label="right")
        axes.plot(tokens, reward[0, len(tokens) :], color=ORANGE, label="wrong")
        axes.axvline(400, color=GREY, linewidth=0.6, linestyle=":")
        axes.set(title=name)
    grid[0, 0].legend()
    for axes in grid[1]:
        axes.set(xlabel="tokens")
    return figure


def draw_laser_d_targets() -> Figure:
    """Coverage of monitor answers by bucket, and where each target falls: the arithmetic base model."""
    figure, axes = plt.subplots(figsize=(5.2, 3.0), layout="constrained")
    records = monitor_records(prompts=200, completions=8)
    grid = targets.length_grid(2, 44, step=2)
    found = targets.target_lengths(records, grid=grid, longest=44, group_size=8)
    for (name, members), color in zip(targets.buckets(records).items(), (ORANGE, BLUE, GREEN), strict=True):
        share = targets.coverage(targets.lengths_of(members), grid)
        need = 1 / targets.required_correct(name, group_size=8, rounding="ceil")
        label = f"{name}: {len(members)} prompts, covers {need:.2f} from {found[name]} tokens"
        axes.step(grid, share, where="post", color=color, label=label)
        axes.plot([found[name]], [share[grid.index(found[name])]], "o", color=color)
        axes.axhline(need, color=color, linewidth=0.7, linestyle=":")
    axes.set(xlabel="candidate target, tokens", ylabel="share of answers within it", ylim=(0, 1.05))
    axes.legend(loc="upper left", bbox_to_anchor=(0.16, 0.62), fontsize=8)
    return figure


def draw_mgpo_weight() -> Figure:
    """Weight of a group by its accuracy."""
    figure, axes = plt.subplots(figsize=(4.4, 2.8), layout="constrained")
    accuracy = torch.linspace(0, 1, 201, dtype=torch.float64)
    for strength in (0.5, 1.0, 2.0, 4.0):
        axes.plot(accuracy, emphasis.weight_of_accuracy(accuracy, strength=strength), label=f"lambda = {strength:g}")
    axes.set(xlabel="share of the group that is right", ylabel="factor on its advantages", ylim=(0, 1.03))
    axes.legend(loc="lower center", ncols=2)
    return figure


def draw_importance_weights() -> Figure:
    """Weight of a token by how much less likely the learner finds it than the engine did."""
    figure, axes = plt.subplots(figsize=(4.4, 2.8), layout="constrained")
    mismatch = torch.linspace(-2, 2, 801)[:, None]
    seen = torch.ones_like(mismatch, dtype=torch.bool)
    for mode in ("truncate", "mask"):
        weight = correction.importance_weights(mismatch, seen, cap=2.0, level="token", mode=mode)
        axes.plot(mismatch, weight, label=f"{mode}, cap 2")
    axes.plot(mismatch, mismatch.exp(), color=GREY, linewidth=0.8, linestyle=":", label="exact")
    axes.set(xlabel="ln proximal - ln sampling", ylabel="weight", ylim=(0, 3))
    axes.legend()
    return figure


def draw_entropy_mask() -> Figure:
    """Three sampled answers of the arithmetic base model: entropy of every token, and who is chosen."""
    answers = sampled_answers()
    widest = max(len(one.words) for one in answers)
    entropy_BT = torch.stack([torch.nn.functional.pad(one.entropy, (0, widest - len(one.words))) for one in answers])
    mask_BT = torch.arange(widest)[None] < torch.tensor([len(one.words) for one in answers])[:, None]
    selected_BT = entropy.top_share(entropy_BT, mask_BT, share=0.2)
    quantile_B1 = entropy.sequence_quantile(entropy_BT, mask_BT, quantile=0.8)
    figure, rows = plt.subplots(len(answers), 1, figsize=(8.4, 4.2), layout="constrained", sharey=True, sharex=True)
    for row, (axes, one) in enumerate(zip(rows, answers, strict=True)):
        _draw_answer(axes, one, chosen=selected_BT[row].tolist(), quantile=float(quantile_B1[row]))
    rows[0].set(title="orange: top 20 % of the three answers (80/20);  dashed: 80 % quantile of the answer (Archer)")
    rows[1].set(ylabel="entropy, nats")
    return figure


def _draw_answer(axes: Axes, one: Sampled, *, chosen: Sequence[bool], quantile: float) -> None:
    places = range(len(one.words))
    colors = [ORANGE if chosen[place] else BLUE for place in places]
    axes.bar(places, one.entropy.tolist(), color=colors, width=0.8)
    axes.plot([-0.5, len(places) - 0.5], [quantile, quantile], color="black", linewidth=0.8, linestyle="--")
    for place, word in enumerate(one.words):
        axes.text(place, -0.06, word, ha="center", va="top", family="monospace", fontsize=8)
    axes.tick_params(bottom=False, labelbottom=False)
    axes.spines["bottom"].set_visible(False)


FIGURES: Final[dict[str, Draw]] = {
    "advantages": draw_advantages,
    "kl": draw_kl,
    "clip-ranges": draw_clip_ranges,
    "archer": draw_archer,
    "gspo": draw_gspo,
    "reductions": draw_reductions,
    "soft-overlong": draw_soft_overlong,
    "length-rewards": draw_length_rewards,
    "laser-d-targets": draw_laser_d_targets,
    "mgpo-weight": draw_mgpo_weight,
    "importance-weights": draw_importance_weights,
    "entropy-mask": draw_entropy_mask,
}


if __name__ == "__main__":
    main()
