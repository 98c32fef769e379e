"""Laws of resolving an algorithm, and the compositions it refuses."""

from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlvr_api.algorithm import AlgorithmSpec, Preset
from rlvr_api.recipe import MANIFEST, refusals, resolve
from rlvr_api.resolved import OutcomeReward, Resolved

OVERRIDES: dict[str, st.SearchStrategy[Any]] = {
    "trustRegion.clipLow": st.floats(0, 1),
    "trustRegion.clipHigh": st.floats(0, 10),
    "trustRegion.dualClip": st.floats(1.5, 20),
    "trustRegion.archer.quantile": st.floats(0, 1),
    "kl.coefficient": st.floats(0, 1),
    "kl.estimator": st.sampled_from(["k2", "k3"]),
    "advantage.kind": st.sampled_from(["groupNormalized", "centered", "leaveOneOut"]),
    "reduction": st.sampled_from(["tokenMean", "sequenceTokenMean", "sequenceTokenSum", "constant"]),
    "overlong.enabled": st.booleans(),
    "dynamicSampling.enabled": st.booleans(),
    "importanceSampling.veto": st.floats(0, 0.99),
    "trustRegion.archer.klNormalization": st.sampled_from(["tokens", "classes"]),
    "trustRegion.archer.entropySource": st.sampled_from(["start", "update"]),
    "importanceSampling.mode": st.sampled_from(["off", "truncate", "mask"]),
    "entropyBonus.coefficient": st.floats(0, 1),
    "tokenSelection.topEntropy.fraction": st.floats(0.01, 1),
    "emphasis.mgpo.strength": st.floats(0, 10),
    "lengthReward.laser.alpha": st.floats(0, 2),
    "outcomeReward.wrong": st.floats(-2, 0.5),
}


def a_tree(leaves: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, last = path.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value
    return tree


def resolved(preset: Preset = "grpo", /, **overrides: Any) -> Resolved:
    """Keys are paths with `__` for the dot."""
    leaves = {path.replace("__", "."): value for path, value in overrides.items()}
    return resolve(AlgorithmSpec.model_validate({"preset": preset, **a_tree(leaves)}))


def as_manifest(recipe: Resolved) -> dict[str, Any]:
    return recipe.model_dump(by_alias=True, exclude={"sources"}, exclude_none=True)


def value_at(tree: dict[str, Any], path: str) -> Any:
    value: Any = tree
    for part in path.split("."):
        value = value[part]
    return value


patient = settings(deadline=None, max_examples=50)
presets = st.sampled_from(get_args(Preset))
overrides = st.fixed_dictionaries({}, optional=OVERRIDES)


@patient
@given(presets, overrides)
def test_an_override_always_wins_and_is_named_as_the_source(preset: Preset, leaves: dict[str, Any]) -> None:
    recipe = resolve(AlgorithmSpec.model_validate({"preset": preset, **a_tree(leaves)}))

    assert {path: value_at(as_manifest(recipe), path) for path in leaves} == leaves
    assert all(recipe.sources[path] == MANIFEST for path in leaves)


@patient
@given(presets, overrides)
def test_what_is_not_overridden_stays_as_the_preset_has_it(preset: Preset, leaves: dict[str, Any]) -> None:
    plain = resolve(AlgorithmSpec(preset=preset))
    changed = resolve(AlgorithmSpec.model_validate({"preset": preset, **a_tree(leaves)}))

    kept = {
        path
        for path in plain.sources
        if path not in leaves and not (path.startswith("lengthReward") and "lengthReward.laser.alpha" in leaves)
    }
    assert {path: changed.sources[path] for path in kept} == {path: plain.sources[path] for path in kept}
    assert all(value_at(as_manifest(changed), path) == value_at(as_manifest(plain), path) for path in kept)


@patient
@given(presets, overrides)
def test_a_resolved_algorithm_resolves_to_itself(preset: Preset, leaves: dict[str, Any]) -> None:
    once = resolve(AlgorithmSpec.model_validate({"preset": preset, **a_tree(leaves)}))
    twice = resolve(AlgorithmSpec.model_validate(as_manifest(once)))

    assert as_manifest(twice) == as_manifest(once)


def test_another_length_reward_replaces_the_presets() -> None:
    recipe = resolved("laserD", lengthReward__kimi__coefficient=0.4)

    assert recipe.length_reward is not None
    assert recipe.length_reward.laser_d is None
    assert not any(path.startswith("lengthReward.laserD") for path in recipe.sources)


def test_a_reference_model_is_needed_exactly_when_a_kl_term_has_weight() -> None:
    assert resolved("grpo").needs_reference
    assert resolved("archer").needs_reference
    assert not resolved("dapo").needs_reference
    assert not resolved("archer", trustRegion__archer__klLowEntropy=0.0).needs_reference


def test_a_score_between_wrong_and_right_is_worth_a_reward_between() -> None:
    reward = OutcomeReward(correct=1.0, wrong=-0.5, malformed=-1.0, truncated=-1.0)

    assert [reward.interpolated(score) for score in (0.0, 0.5, 1.0)] == [-0.5, 0.25, 1.0]


@pytest.mark.parametrize("preset", get_args(Preset))
def test_no_preset_refuses_itself(preset: Preset) -> None:
    assert list(refusals(resolved(preset), max_tokens=16384)) == []


NONSENSE: list[tuple[Preset, dict[str, Any], str, str]] = [
    ("gspo", {"trustRegion__archer__quantile": 0.5}, "trustRegion.ratio", "moves all its tokens alike"),
    ("gspo", {"tokenSelection__topEntropy__fraction": 0.5}, "trustRegion.ratio", "set trustRegion.ratio to token"),
    ("gspo", {"reduction": "tokenMean"}, "reduction", "set reduction to sequenceTokenMean"),
    ("dapo", {"trustRegion__aspo__cap": 3.0}, "trustRegion.dualClip", "set trustRegion.dualClip to 0"),
    ("archer", {"kl__coefficient": 0.1}, "kl.coefficient", "klLowEntropy"),
    (
        "archer",
        {"trustRegion__archer__klNormalization": "classes", "reduction": "constant"},
        "trustRegion.archer.klNormalization",
        "constant takes no mean",
    ),
    (
        "archer",
        {"trustRegion__archer__klNormalization": "classes", "reduction": "sequenceTokenSum"},
        "trustRegion.archer.klNormalization",
        "set klNormalization to tokens",
    ),
    (
        "archer",
        {"trustRegion__archer__klNormalization": "classes", "trustRegion__archer__entropySource": "update"},
        "trustRegion.archer.entropySource",
        "set entropySource to start",
    ),
    ("laserDE", {"lengthReward__laserDE__alpha": 1.5}, "lengthReward.laserDE.alpha", "lifts a wrong answer (-0.5)"),
    (
        "grpo",
        {"lengthReward__o1Pruner__accuracyWeight": 2.0, "lengthReward__o1Pruner__completions": 4},
        "lengthReward.o1Pruner",
        "use lengthReward.laserD",
    ),
    ("highEntropy20", {"reduction": "constant"}, "reduction", "constant ignores"),
    ("grpo", {"outcomeReward__wrong": 1.0}, "outcomeReward", "must be worth more"),
    ("laser", {"lengthReward__laser__targetTokens": 16384}, "lengthReward.laser.targetTokens", "not below"),
    ("laserDE", {"lengthReward__laserDE__lowestTokens": 20000}, "lengthReward.laserDE.lowestTokens", "not below"),
    (
        "grpo",
        {"lengthReward__thinkPrune__targetTokens": (2048, 4096), "lengthReward__thinkPrune__stageSteps": 5},
        "lengthReward.thinkPrune.targetTokens",
        "must fall",
    ),
]


COMPOSED: list[tuple[Preset, dict[str, Any]]] = [
    ("archer", {"lengthReward__laserD__lowestTokens": 1024}),
    ("archer", {"trustRegion__archer__klNormalization": "classes"}),
    (
        "archer",
        {
            "trustRegion__archer__klNormalization": "classes",
            "trustRegion__archer__entropySource": "update",
            "reduction": "sequenceTokenMean",
        },
    ),
    ("archer", {"trustRegion__aspo__cap": 3.0, "trustRegion__dualClip": 0.0}),
    ("highEntropy20", {"emphasis__mgpo__strength": 2.0}),
    ("gspo", {"emphasis__mgpo__strength": 2.0, "lengthReward__kimi__coefficient": 0.4}),
    ("laserDE", {"lengthReward__laserDE__alpha": 1.4}),
]


@pytest.mark.parametrize(("preset", "leaves"), COMPOSED)
def test_methods_that_make_sense_together_compose(preset: Preset, leaves: dict[str, Any]) -> None:
    assert list(refusals(resolved(preset, **leaves), max_tokens=16384)) == []


@pytest.mark.parametrize(("preset", "leaves", "field", "reason"), NONSENSE)
def test_a_composition_without_sense_is_refused_with_its_reason(
    preset: Preset, leaves: dict[str, Any], field: str, reason: str
) -> None:
    (problem,) = refusals(resolved(preset, **leaves), max_tokens=16384)

    assert problem.field == field
    assert reason in problem.message
