"""A job, spelled out: every number, its value and where it came from; and what a step amounts to.  Pure text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from rlvr_api import LoraSpec, RLVRJob, RLVRJobSpec, serving
from rlvr_api.base import Model, api_name
from rlvr_api.devices import main_device, named_container
from rlvr_api.presets import PUBLISHED_RUNS
from rlvr_api.recipe import MANIFEST, resolve
from rlvr_api.resolved import Resolved

LineOf = Callable[[str], int | None]
"""The line of the manifest that sets `spec.a.b`, if known."""


_WIDEST_VALUE: Final = 32


class Row(NamedTuple):
    """One number of a job."""

    path: str
    value: str
    source: str


def explain(job: RLVRJob, *, line_of: LineOf = lambda _: None) -> str:
    """All of `job` as text: the recipe, then every other section, then what a step amounts to."""
    recipe = resolve(job.spec.algorithm)
    rows = [_with_line(row, line_of) for row in (*recipe_rows(recipe), *spec_rows(job.spec))]
    width = max(len(row.path) for row in rows)
    value_width = max(len(row.value) for row in rows if len(row.value) <= _WIDEST_VALUE)
    lines = [f"{row.path:<{width}}  {row.value:<{value_width}}  {row.source}" for row in rows]
    title = f"{job.metadata.name}: preset {recipe.preset}"
    return "\n".join([title, "", *lines, "", *engine_lines(job.spec), *summary(job, recipe)])


def recipe_rows(recipe: Resolved) -> Iterator[Row]:
    """Every number of the algorithm, in the order in which they act; what another setting makes idle says so."""
    idle = unused(recipe)
    for path, (value, _) in _leaves(recipe):
        if path in recipe.sources:
            note = f" (not used: {idle[path]})" if path in idle else ""
            yield Row(f"spec.algorithm.{path}", _shown(value), f"{recipe.sources[path]}{note}")


def spec_rows(spec: RLVRJobSpec) -> Iterator[Row]:
    """Every value outside the algorithm, as written or by default."""
    for path, (value, is_written) in _leaves(spec):
        if not path.startswith("algorithm."):
            yield Row(f"spec.{path}", _shown(value), MANIFEST if is_written else "default")


def engine_lines(spec: RLVRJobSpec) -> Iterator[str]:
    """What vLLM is told in a pod, each argument with its reason; nothing about the local engine."""
    if spec.rollout.engine != "vllm":
        return
    devices = main_device(named_container(spec.rollout.template, "engine"))
    yield "vLLM in a rollout pod (args of the template's engine container follow and win):"
    for argument in serving.vllm_arguments(spec, devices=devices or 1):
        yield f"  {' '.join(serving.flags([argument])):<36}  {argument.source}"
    yield ""


def unused(recipe: Resolved) -> Mapping[str, str]:
    """Numbers that do nothing in this recipe, and why."""
    kind = recipe.advantage.kind
    cases = (
        (kind != "groupNormalized", f"advantage.kind is {kind}", ("advantage.ddof", "advantage.epsilon")),
        (not recipe.overlong.enabled, "overlong is off", ("overlong.cacheFraction", "overlong.penalty")),
        (
            recipe.importance_sampling.mode == "off",
            "importanceSampling is off",
            ("importanceSampling.level", "importanceSampling.cap"),
        ),
        (not recipe.needs_reference, "there is no KL term", ("kl.estimator",)),
        (
            recipe.trust_region.archer is not None,
            "archer clips by entropy class",
            ("trustRegion.clipLow", "trustRegion.clipHigh"),
        ),
    )
    return {path: why for is_idle, why, paths in cases if is_idle for path in paths}


def summary(job: RLVRJob, recipe: Resolved) -> Iterator[str]:
    """What a step and the whole run amount to."""
    training, longest = job.spec.training, job.spec.rollout.sampling.max_tokens
    completions = training.prompts_per_step * training.group_size
    updates = training.minibatches * training.epochs
    yield (
        f"A step: {training.prompts_per_step:,} prompts x {training.group_size} = {completions:,} completions "
        f"of at most {longest:,} tokens = at most {completions * longest:,} completion tokens; "
        f"{updates} optimizer update{'s' if updates > 1 else ''}."
    )
    yield (
        f"The run: {training.steps:,} steps = {training.steps * training.prompts_per_step:,} groups, at most "
        f"{training.steps * completions * longest:,} completion tokens trained"
        f"{', flat groups not counted' if recipe.dynamic_sampling.enabled else ''}."
    )
    yield f"Trained: {_trained(training.lora)}."
    yield f"Reference model: {_reference(training.lora) if recipe.needs_reference else 'not needed'}."
    yield f"Published run of {recipe.preset}: {PUBLISHED_RUNS[recipe.preset]}."


def _trained(lora: LoraSpec | None) -> str:
    if lora is None:
        return "every weight"
    beside = ", ".join(lora.target_modules) or "every linear layer but the output head"
    return f"adapters of rank {lora.rank} beside {beside}, counted {lora.alpha:g} / {lora.rank} = {lora.scale:g} times"


def _reference(lora: LoraSpec | None) -> str:
    shared = "" if lora is None else "; the policy's own weights without the adapters"
    return f"needed for the KL term{shared}"


def _leaves(model: Model, path: str = "", *, is_written: bool = True) -> Iterator[tuple[str, tuple[Any, bool]]]:
    """Path, value and whether the manifest says so, of everything below `model` that is present."""
    for name, value in model:
        here = f"{path}.{api_name(name)}".lstrip(".")
        written = is_written and name in model.model_fields_set
        if isinstance(value, Model) and type(value).model_fields:
            yield from _leaves(value, here, is_written=written)
        elif isinstance(value, dict):
            yield from ((f"{here}.{key}", (item, written)) for key, item in value.items())
        elif isinstance(value, tuple) and value and isinstance(value[0], Model):
            for index, item in enumerate(value):
                yield from _leaves(item, f"{here}[{index}]", is_written=written)
        elif value is not None:
            yield here, (value, written)


def _shown(value: Any) -> str:
    if isinstance(value, Model):
        return "set"
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _with_line(row: Row, line_of: LineOf) -> Row:
    line = line_of(row.path) if row.source.startswith(MANIFEST) else None
    return row if line is None else row._replace(source=f"{row.source}, line {line}")
