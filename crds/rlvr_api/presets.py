"""The published recipes, number by number, each with the place it was read.

Keys are paths in a manifest below `algorithm`.  A preset lists every number that is not a variant's; a variant's
numbers are the defaults of its class, and `VARIANT_SOURCES` says where those come from.  "ours" marks what no paper
gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from rlvr_api.algorithm import Preset

Value = float | int | str | bool | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sourced:
    """A number and the place it comes from."""

    value: Value
    source: str


Table = Mapping[str, Sourced]


def _said(source: str, /, **numbers: Value) -> Table:
    """Numbers from one source; `trustRegion__clipLow` stands for the path trustRegion.clipLow."""
    return {name.replace("__", "."): Sourced(value, source) for name, value in numbers.items()}


def _outcomes(source: str, *, correct: float, wrong: float, malformed: float) -> Table:
    """Rewards by outcome; a truncated completion has no readable answer."""
    values = {"correct": correct, "wrong": wrong, "malformed": malformed, "truncated": malformed}
    return {f"outcomeReward.{name}": Sourced(value, source) for name, value in values.items()}


_GRPO: Final[Table] = {
    **_outcomes("ours: right 1, else 0", correct=1.0, wrong=0.0, malformed=0.0),
    **_said("DeepSeekMath 2402.03300, section 4.1", advantage__kind="groupNormalized", reduction="sequenceTokenMean"),
    **_said("verl (the papers give none)", advantage__ddof=1, advantage__epsilon=1e-6),
    **_said(
        "PPO's customary value (DeepSeekMath gives none)",
        trustRegion__clipLow=0.2,
        trustRegion__clipHigh=0.2,
    ),
    **_said("DeepSeekMath 2402.03300, eq. 3", trustRegion__ratio="token", trustRegion__dualClip=0.0),
    **_said("DeepSeekMath 2402.03300, section 4.2", kl__coefficient=0.04),
    **_said("DeepSeekMath 2402.03300, eq. 4", kl__estimator="k3"),
    **_said("DeepSeekMath 2402.03300", dynamicSampling__enabled=False, entropyBonus__coefficient=0.0),
    **_said("off: the preset's paper has none; size as in DAPO", overlong__enabled=False),
    **_said("DAPO 2503.14476, section 4.1: 4096 of 20480 tokens", overlong__cacheFraction=0.2),
    **_said("DAPO 2503.14476, eq. 13", overlong__penalty=1.0),
    **_said("ours: none of the released scripts corrects", importanceSampling__mode="off"),
    **_said("verl's example", importanceSampling__level="token", importanceSampling__cap=2.0),
    **_said("off: verl's example has none (its helper suggests 1e-4)", importanceSampling__veto=0.0),
}

_NO_KL: Final[Mapping[str, float]] = {"kl__coefficient": 0.0}

_DAPO: Final[Table] = {
    **_GRPO,
    **_outcomes("DAPO 2503.14476, eq. 7", correct=1.0, wrong=-1.0, malformed=-1.0),
    **_said("DAPO 2503.14476, section 4.1", trustRegion__clipLow=0.2, trustRegion__clipHigh=0.28),
    **_said("DAPO's released script", trustRegion__dualClip=10.0),
    **_said("DAPO 2503.14476, section 2.3", **_NO_KL),
    **_said("DAPO 2503.14476, eq. 12", reduction="tokenMean"),
    **_said("DAPO 2503.14476, section 3.2", dynamicSampling__enabled=True),
    **_said("DAPO 2503.14476, section 3.4", overlong__enabled=True),
    **_said("DAPO 2503.14476", entropyBonus__coefficient=0.0),
}

_DR_GRPO: Final[Table] = {
    **_GRPO,
    **_said("Dr.GRPO 2503.20783, section 3.2", advantage__kind="centered", reduction="constant"),
    **_said("Dr.GRPO 2503.20783: the loss has no KL term", **_NO_KL),
}

_GSPO: Final[Table] = {
    **_GRPO,
    **_said("GSPO 2507.18071, section 5.1", trustRegion__clipLow=3e-4, trustRegion__clipHigh=4e-4),
    **_said("GSPO 2507.18071, eq. 7", trustRegion__ratio="sequence"),
    **_said("GSPO 2507.18071, eq. 5", reduction="sequenceTokenMean"),
    **_said("GSPO 2507.18071: KL omitted", **_NO_KL),
}

_HIGH_ENTROPY_20: Final[Table] = {
    **_DAPO,
    **_said("released script of 2506.01939", trustRegion__dualClip=10.0),
    **_said("2506.01939, section 5: neither KL nor entropy bonus", **_NO_KL, entropyBonus__coefficient=0.0),
}

_ARCHER: Final[Table] = {
    **_GRPO,
    **_outcomes("Archer's released code (rewards/)", correct=1.0, wrong=0.0, malformed=0.0),
    **_said("Archer's released script", trustRegion__dualClip=10.0),
    **_said("Archer 2507.15778v2, eq. 5: KL by entropy class instead", **_NO_KL),
    **_said("Archer 2507.15778v2, eq. 5", reduction="tokenMean"),
    **_said("Archer's released code; here dropped groups are replaced", dynamicSampling__enabled=True),
    **_said("Archer's released script: buffer disabled", overlong__enabled=False),
    **_said("Archer's released script", entropyBonus__coefficient=0.0),
}

_LASER: Final[Table] = {
    **_GRPO,
    **_outcomes("Laser 2505.15612, section 4.1", correct=1.0, wrong=-0.5, malformed=-1.0),
    **_said(
        "Laser 2505.15612, appendix E",
        trustRegion__clipLow=0.2,
        trustRegion__clipHigh=0.28,
        kl__coefficient=0.001,
        kl__estimator="k3",
        entropyBonus__coefficient=0.001,
    ),
    **_said("verl's default (the paper gives none)", reduction="tokenMean"),
    **_said("Laser 2505.15612: all-correct groups stay informative", dynamicSampling__enabled=False),
}

_MGPO: Final[Table] = {
    **_GRPO,
    **_said("VibeThinker 2511.06221: the objective has no KL term", **_NO_KL),
    **_said("VibeThinker 2511.06221, MGPO objective", reduction="sequenceTokenMean"),
    **_said("ours: DAPO's range (VibeThinker gives none)", trustRegion__clipLow=0.2, trustRegion__clipHigh=0.28),
}

PRESETS: Final[Mapping[Preset, Table]] = MappingProxyType(
    {
        "grpo": _GRPO,
        "dapo": _DAPO,
        "drGrpo": _DR_GRPO,
        "gspo": _GSPO,
        "highEntropy20": _HIGH_ENTROPY_20,
        "archer": _ARCHER,
        "laser": _LASER,
        "laserD": _LASER,
        "laserDE": _LASER,
        "mgpo": _MGPO,
    }
)

VARIANTS: Final[Mapping[Preset, str]] = MappingProxyType(
    {
        "highEntropy20": "tokenSelection.topEntropy",
        "archer": "trustRegion.archer",
        "laser": "lengthReward.laser",
        "laserD": "lengthReward.laserD",
        "laserDE": "lengthReward.laserDE",
        "mgpo": "emphasis.mgpo",
    }
)
"""The variant that a preset is about, if any, with its class's defaults."""

_LASER_D_SOURCES: Final[Mapping[str, str]] = {
    "alpha": "Laser 2505.15612, table 2",
    "lowestTokens": "Laser 2505.15612, table 3: LASER-D_4096",
    "gridStep": "Laser 2505.15612, section 5.2",
    "monitorPrompts": "Laser 2505.15612, section 5.2",
    "monitorCompletions": "Laser 2505.15612, section 5.2",
    "monitorEvery": "Laser 2505.15612, section 5.2",
    "rounding": "Laser 2505.15612, eq. 3 (the released code rounds down)",
}

VARIANT_SOURCES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "lengthReward.truncation.beyond": "Laser 2505.15612, table 2: rho",
        "lengthReward.thinkPrune.targetTokens": "Laser 2505.15612, table 2 (ThinkPrune's own runs start at 4000)",
        "lengthReward.efficient.alpha": "Efficient Reasoning 2502.04463; best of Laser's runs, table 3",
        "lengthReward.efficient.form": "Laser 2505.15612, table 2",
        "lengthReward.kimi.coefficient": "Kimi k1.5 2501.12599 (Laser's released code: 0.4)",
        "lengthReward.l1Exact.alpha": "L1 2503.04697",
        "lengthReward.l1Max.alpha": "L1 2503.04697 (Laser's runs: 0.01)",
        "lengthReward.l1Max.delta": "L1 2503.04697",
        "lengthReward.l1Max.form": "L1 2503.04697",
        "lengthReward.longToShort.strength": "VibeThinker-3B 2606.16140",
        "lengthReward.laser.targetTokens": "Laser 2505.15612, table 3: LASER_8192",
        "lengthReward.laser.alpha": "Laser 2505.15612, table 2",
        **{f"lengthReward.laserD.{name}": source for name, source in _LASER_D_SOURCES.items()},
        **{f"lengthReward.laserDE.{name}": source for name, source in _LASER_D_SOURCES.items()},
        "emphasis.mgpo.strength": "ours: 1 (VibeThinker gives none)",
        "emphasis.mgpo.center": "VibeThinker 2511.06221: p0",
        "tokenSelection.topEntropy.fraction": "2506.01939, eq. 6",
        "tokenSelection.topEntropy.scope": "ours: the paper ranks per (micro-)batch, which depends on its size",
        "tokenSelection.topEntropy.denominator": "2506.01939, eq. 6",
        "tokenSelection.topEntropy.method": "released code of 2506.01939",
        "trustRegion.archer.quantile": "Archer 2507.15778v2, section 5.1",
        "trustRegion.archer.ties": "Archer's released code (the paper: high)",
        "trustRegion.archer.clipHighEntropy": "Archer 2507.15778v2, section 5.1",
        "trustRegion.archer.clipLowEntropy": "Archer 2507.15778v2, section 5.1",
        "trustRegion.archer.klHighEntropy": "Archer 2507.15778v2, section 5.1",
        "trustRegion.archer.klLowEntropy": "Archer 2507.15778v2, section 5.1",
        "trustRegion.archer.klNormalization": "Archer 2507.15778v2, eq. 5 (the released code: classes)",
        "trustRegion.archer.entropySource": "Archer 2507.15778v2, algorithm 1 (the released code: update)",
        "trustRegion.aspo.cap": "Archer2.0's released code (ASPO, 2510.06062)",
    }
)

PUBLISHED_RUNS: Final[Mapping[Preset, str]] = MappingProxyType(
    {
        "grpo": "64 completions of at most 1024 tokens, batch 1024, one update a step, learning rate 1e-6",
        "dapo": "512 prompts x 16, 16 updates a step, learning rate 1e-6 after 20 warm-up steps, 20480 tokens",
        "drGrpo": "completions of at most 3000 tokens",
        "gspo": "4 updates a step",
        "highEntropy20": "512 prompts x 16, 16 updates a step, learning rate 1e-6, 20480 tokens, temperature 1",
        "archer": "64 prompts x 16, 2 updates x 3 epochs, learning rate 1e-6 after 10 warm-up steps, 32768 tokens",
        "laser": "128 prompts x 8, 2 updates a step, learning rate 1e-6, 16384 tokens, temperature 0.6",
        "laserD": "128 prompts x 8, 2 updates a step, learning rate 1e-6, 16384 tokens, temperature 0.6",
        "laserDE": "128 prompts x 8, 2 updates a step, learning rate 1e-6, 16384 tokens, temperature 0.6",
        "mgpo": "batch, group size and learning rate are not published",
    }
)
"""Sizes of the runs that the papers report; `training` and `rollout` take nothing from a preset."""
