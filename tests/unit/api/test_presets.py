"""The published numbers of every preset, written down a second time from the papers and released scripts."""

from typing import Any, get_args

import pytest

from rlvr_api.algorithm import AlgorithmSpec, Preset
from rlvr_api.base import Model, api_name
from rlvr_api.presets import PRESETS, PUBLISHED_RUNS, VARIANT_SOURCES
from rlvr_api.recipe import resolve

GRPO = {
    "outcomeReward.correct": 1.0,
    "outcomeReward.wrong": 0.0,
    "outcomeReward.malformed": 0.0,
    "outcomeReward.truncated": 0.0,
    "overlong.enabled": False,
    "advantage.kind": "groupNormalized",
    "advantage.ddof": 1,
    "advantage.epsilon": 1e-6,
    "trustRegion.clipLow": 0.2,
    "trustRegion.clipHigh": 0.2,
    "trustRegion.dualClip": 0.0,
    "trustRegion.ratio": "token",
    "kl.coefficient": 0.04,
    "kl.estimator": "k3",
    "importanceSampling.mode": "off",
    "importanceSampling.level": "token",
    "importanceSampling.cap": 2.0,
    "importanceSampling.veto": 0.0,
    "reduction": "sequenceTokenMean",
    "dynamicSampling.enabled": False,
    "entropyBonus.coefficient": 0.0,
}
DAPO = GRPO | {
    "outcomeReward.wrong": -1.0,
    "outcomeReward.malformed": -1.0,
    "outcomeReward.truncated": -1.0,
    "overlong.enabled": True,
    "overlong.cacheFraction": 4096 / 20480,
    "overlong.penalty": 1.0,
    "trustRegion.clipHigh": 0.28,
    "trustRegion.dualClip": 10.0,
    "kl.coefficient": 0.0,
    "reduction": "tokenMean",
    "dynamicSampling.enabled": True,
}
LASER = GRPO | {
    "outcomeReward.wrong": -0.5,
    "outcomeReward.malformed": -1.0,
    "outcomeReward.truncated": -1.0,
    "trustRegion.clipHigh": 0.28,
    "kl.coefficient": 0.001,
    "entropyBonus.coefficient": 0.001,
    "reduction": "tokenMean",
}
LASER_D = {
    "alpha": 0.5,
    "lowestTokens": 4096,
    "gridStep": 1024,
    "monitorPrompts": 500,
    "monitorCompletions": 8,
    "monitorEvery": 20,
    "rounding": "ceil",
}
PUBLISHED: dict[Preset, dict[str, Any]] = {
    "grpo": GRPO,
    "dapo": DAPO,
    "drGrpo": GRPO | {"advantage.kind": "centered", "kl.coefficient": 0.0, "reduction": "constant"},
    "gspo": GRPO
    | {
        "trustRegion.clipLow": 3e-4,
        "trustRegion.clipHigh": 4e-4,
        "trustRegion.ratio": "sequence",
        "kl.coefficient": 0.0,
    },
    "highEntropy20": DAPO
    | {
        "tokenSelection.topEntropy.fraction": 0.2,
        "tokenSelection.topEntropy.scope": "batch",
        "tokenSelection.topEntropy.denominator": "selected",
        "tokenSelection.topEntropy.method": "exact",
    },
    "archer": GRPO
    | {
        "trustRegion.dualClip": 10.0,
        "trustRegion.archer.quantile": 0.8,
        "trustRegion.archer.ties": "low",
        "trustRegion.archer.clipHighEntropy": 0.5,
        "trustRegion.archer.clipLowEntropy": 0.2,
        "trustRegion.archer.klHighEntropy": 0.0,
        "trustRegion.archer.klLowEntropy": 0.001,
        "trustRegion.archer.klNormalization": "tokens",
        "trustRegion.archer.entropySource": "start",
        "kl.coefficient": 0.0,
        "reduction": "tokenMean",
        "dynamicSampling.enabled": True,
    },
    "laser": LASER | {"lengthReward.laser.targetTokens": 8192, "lengthReward.laser.alpha": 0.5},
    "laserD": LASER | {f"lengthReward.laserD.{key}": value for key, value in LASER_D.items()},
    "laserDE": LASER | {f"lengthReward.laserDE.{key}": value for key, value in LASER_D.items()},
    "mgpo": GRPO
    | {
        "emphasis.mgpo.strength": 1.0,
        "emphasis.mgpo.center": 0.5,
        "trustRegion.clipHigh": 0.28,
        "kl.coefficient": 0.0,
    },
}
NOT_PUBLISHED_BY_EVERY_PRESET = {"overlong.cacheFraction", "overlong.penalty"}


def numbers(model: Model, path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in model:
        here = f"{path}.{api_name(name)}".lstrip(".")
        if isinstance(value, Model):
            found |= numbers(value, here)
        elif value is not None and here not in {"preset", "sources"}:
            found[here] = value
    return found


@pytest.mark.parametrize("preset", get_args(Preset))
def test_a_preset_has_the_published_numbers(preset: Preset) -> None:
    resolved = numbers(resolve(AlgorithmSpec(preset=preset)))

    assert {path: resolved[path] for path in PUBLISHED[preset]} == PUBLISHED[preset]
    assert resolved.keys() - PUBLISHED[preset].keys() <= NOT_PUBLISHED_BY_EVERY_PRESET


@pytest.mark.parametrize("preset", get_args(Preset))
def test_every_number_of_a_preset_names_its_source(preset: Preset) -> None:
    resolved = resolve(AlgorithmSpec(preset=preset))

    assert resolved.sources.keys() == numbers(resolved).keys()
    assert all(len(source) > 3 for source in resolved.sources.values())


def test_every_preset_has_a_table_and_a_published_run() -> None:
    assert set(get_args(Preset)) == PRESETS.keys() == PUBLISHED_RUNS.keys() == PUBLISHED.keys()


LONE_VARIANTS = {
    "lengthReward.truncation": ({"targetTokens": 6144}, {"beyond": 0.0}),
    "lengthReward.thinkPrune": ({"stageSteps": 50}, {"targetTokens": (4096, 3072, 2048)}),
    "lengthReward.efficient": ({}, {"alpha": 0.1, "form": "paper"}),
    "lengthReward.kimi": ({}, {"coefficient": 1.0}),
    "lengthReward.l1Exact": ({"targetTokens": 1024}, {"alpha": 3e-4}),
    "lengthReward.l1Max": ({"targetTokens": 1024}, {"alpha": 3e-4, "delta": 0.5, "form": "paper"}),
    "lengthReward.o1Pruner": ({"accuracyWeight": 2.0, "completions": 16}, {}),
    "lengthReward.longToShort": ({}, {"strength": 0.2}),
    "trustRegion.aspo": ({}, {"cap": 3.0}),
}


@pytest.mark.parametrize("path", LONE_VARIANTS)
def test_a_variant_without_a_preset_has_its_papers_numbers(path: str) -> None:
    written, published = LONE_VARIANTS[path]
    component, variant = path.split(".")

    resolved = resolve(AlgorithmSpec.model_validate({component: {variant: written}}))

    found = numbers(resolved)
    assert {key: found[f"{path}.{key}"] for key in published} == published
    assert all(resolved.sources[f"{path}.{key}"] == VARIANT_SOURCES[f"{path}.{key}"] for key in published)
    assert all(resolved.sources[f"{path}.{key}"] == "manifest" for key in written)
