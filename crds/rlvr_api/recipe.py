"""From a preset and its overrides to every number with its source.  Pure.

Layers, later ones win: the preset's numbers, the defaults of the variants in use, what the manifest says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from rlvr_api.algorithm import AlgorithmSpec
from rlvr_api.base import Model, Problem, api_name
from rlvr_api.lengths import Laser, LaserD, LaserDE, LengthReward, LengthRewardSpec, O1Pruner, ThinkPrune
from rlvr_api.presets import PRESETS, VARIANT_SOURCES, VARIANTS, Sourced, Table
from rlvr_api.resolved import Resolved

MANIFEST: Final = "manifest"


def resolve(algorithm: AlgorithmSpec) -> Resolved:
    """Every number of `algorithm`, each with its source."""
    table = {**PRESETS[algorithm.preset], **_variant(algorithm), **dict(_leaves(algorithm))}
    tree = _tree({path: sourced.value for path, sourced in table.items()})
    sources = {path: sourced.source for path, sourced in table.items()}
    return Resolved.model_validate({**tree, "preset": algorithm.preset, "sources": sources})


def refusals(recipe: Resolved, *, max_tokens: int) -> Iterator[Problem]:
    """Why this composition makes no sense, if it does not; `max_tokens` bounds a completion."""
    yield from _ratio_refusals(recipe)
    yield from _term_refusals(recipe)
    yield from _archer_refusals(recipe)
    if recipe.length_reward is not None:
        yield from _length_refusals(recipe.length_reward, max_tokens=max_tokens)
        yield from _worth_refusals(recipe, recipe.length_reward)


def _variant(algorithm: AlgorithmSpec) -> Table:
    """The numbers of the preset's own variant, unless the manifest puts another in its place."""
    path = VARIANTS.get(algorithm.preset)
    if path is None or (path.startswith("lengthReward") and algorithm.length_reward is not None):
        return {}
    return dict(_leaves(AlgorithmSpec.model_validate(_tree({path: {}}))))


def _leaves(model: Model, path: str = "") -> Iterator[tuple[str, Sourced]]:
    """Every number in `model`: written in the manifest, or the default of a variant that the manifest names."""
    for name, value in model:
        here = f"{path}.{api_name(name)}".lstrip(".")
        if isinstance(value, Model):
            yield from _leaves(value, here)
        elif value is not None and here != "preset":
            yield here, Sourced(value, MANIFEST if name in model.model_fields_set else VARIANT_SOURCES[here])


def _tree(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} -> {"a": {"b": 1}}."""
    tree: dict[str, Any] = {}
    for path, value in leaves.items():
        *parents, last = path.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[last] = value
    return tree


def _ratio_refusals(recipe: Resolved) -> Iterator[Problem]:
    """What cannot be combined with one ratio per completion, or with asymmetric weights."""
    region, selection = recipe.trust_region, recipe.token_selection
    if region.ratio == "sequence":
        if region.archer or region.aspo or (selection and selection.top_entropy):
            yield Problem(
                "trustRegion.ratio",
                "one ratio per completion moves all its tokens alike, so archer, aspo and topEntropy have nothing to "
                "choose between: set trustRegion.ratio to token, or drop them",
            )
        if recipe.reduction != "sequenceTokenMean":
            yield Problem(
                "reduction",
                f"{recipe.reduction} would weigh a sequence ratio by length: set reduction to sequenceTokenMean, or "
                "trustRegion.ratio to token",
            )
    if region.aspo and region.dual_clip:
        yield Problem(
            "trustRegion.dualClip",
            "aspo caps the same weights itself: set trustRegion.dualClip to 0, or drop trustRegion.aspo",
        )


def _term_refusals(recipe: Resolved) -> Iterator[Problem]:
    """Terms that say the same thing twice, or nothing."""
    selection, rewards = recipe.token_selection, recipe.outcome_reward
    ranks_tokens = selection is not None and selection.top_entropy is not None
    if ranks_tokens and recipe.trust_region.ratio == "token" and recipe.reduction != "tokenMean":
        yield Problem(
            "reduction",
            f"topEntropy brings its own denominator, which {recipe.reduction} ignores: set reduction to tokenMean, or "
            "drop tokenSelection",
        )
    if rewards.correct <= max(rewards.wrong, rewards.malformed, rewards.truncated):
        yield Problem("outcomeReward", "a correct completion must be worth more than any other: raise correct")


def _archer_refusals(recipe: Resolved) -> Iterator[Problem]:
    """KL terms by entropy class that cannot be added up as asked."""
    archer = recipe.trust_region.archer
    if archer is None:
        return
    if recipe.kl.coefficient:
        yield Problem(
            "kl.coefficient",
            "archer has a KL coefficient per entropy class: set kl.coefficient to 0 and use "
            "trustRegion.archer.klLowEntropy and klHighEntropy",
        )
    if archer.kl_normalization != "classes":
        return
    if recipe.reduction in {"sequenceTokenSum", "constant"}:
        yield Problem(
            "trustRegion.archer.klNormalization",
            f"{recipe.reduction} takes no mean that classes could have of their own: set klNormalization to tokens, or "
            "reduction to tokenMean or sequenceTokenMean",
        )
    if recipe.reduction == "tokenMean" and archer.entropy_source == "update":
        yield Problem(
            "trustRegion.archer.entropySource",
            "how many tokens an update has of each class is known only after its last pass, so their means cannot be "
            "taken: set entropySource to start, or reduction to sequenceTokenMean (the released code's effect)",
        )


def _worth_refusals(recipe: Resolved, spec: LengthRewardSpec) -> Iterator[Problem]:
    """Length rewards that turn right and wrong around, or need what nobody samples."""
    variant, worth = spec.variant, recipe.outcome_reward
    if isinstance(variant, LaserDE) and variant.alpha >= worth.correct - worth.wrong:
        yield Problem(
            "lengthReward.laserDE.alpha",
            f"{variant.alpha} lifts a wrong answer ({worth.wrong}) to a right one ({worth.correct}): lower alpha below "
            "their difference",
        )
    if isinstance(variant, O1Pruner):
        yield Problem(
            "lengthReward.o1Pruner",
            "it compares with lengths and accuracies of a reference model on every training prompt, which nothing "
            "samples yet: use lengthReward.laserD, whose targets follow the policy, or laser with a fixed targetTokens",
        )


def _length_refusals(spec: LengthRewardSpec, *, max_tokens: int) -> Iterator[Problem]:
    """Targets that no completion can exceed, or stages that do not shrink."""
    name = next(api_name(field) for field, value in spec if value is not None)
    key, target = _target(spec.variant)
    if target is not None and target >= max_tokens:
        yield Problem(
            f"lengthReward.{name}.{key}",
            f"{target} tokens is not below rollout.sampling.maxTokens ({max_tokens}), so every completion is short "
            f"enough: lower {key} or raise maxTokens",
        )
    if isinstance(spec.variant, ThinkPrune) and any(a <= b for a, b in pairwise(spec.variant.target_tokens)):
        yield Problem("lengthReward.thinkPrune.targetTokens", "targets must fall from stage to stage: reorder them")


def _target(variant: LengthReward) -> tuple[str, int | None]:
    """The key and value of the length that the variant compares completions with."""
    match variant:
        case Laser(target_tokens=target):
            return "targetTokens", target
        case LaserD(lowest_tokens=target):
            return "lowestTokens", target
        case ThinkPrune(target_tokens=targets):
            return "targetTokens", targets[-1]
        case _:
            return "targetTokens", getattr(variant, "target_tokens", None)
