"""Manifests that nobody would write: examples with a few random changes.  One seed gives the same ones again."""

import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from rlvr_api.schema import job_schema
from rlvr_api.structural import Schema

Path = tuple[str | int, ...]
NUMBERS: Final = (
    0,
    -1,
    1,
    2,
    7,
    0.5,
    -0.0,
    1.0,
    3.0,
    1e-12,
    1e308,
    -1e308,
    2**31 - 1,
    2**31,
    2**53,
    2**63,
    -(2**63),
    10**30,
)
TEXTS: Final = (
    "",
    " ",
    "a" * 41,
    "x" * 9000,
    "naïve Ω 漢字 🚀",
    "\u202eright to left",
    "line\nbreak\ttab",
    "\u0000",
    "\ud800",
    "${HOME} {{ .Values.x }} %s {question",
    "'; drop table --",
    "../../etc/passwd",
    "s3://",
    "s3://bucket/a b?c#d",
    "ftp://host/x",
    "http://",
    "true",
    "null",
    "12",
    "package.module:function",
)
OTHERS: Final = (None, True, False, [], {}, [None], {"a": {"b": [1]}}, [[[]]], {"": 1}, "text", 3)
TEMPLATES: Final[tuple[Any, ...]] = (
    {"spec": {"containers": "none"}},
    {"spec": {"containers": [{"name": "learner", "image": 7}]}},
    {"spec": {"containers": [{"name": "UPPER", "image": "x"}, {"name": "UPPER", "image": "x"}]}},
    {"spec": {"containers": [{"name": "learner", "resources": {"limits": {"cpu": "-1", "nvidia.com/gpu": "half"}}}]}},
    {"spec": {"hostNetwork": True, "hostPID": True, "securityContext": {"runAsUser": 0}}},
    {"spec": {"restartPolicy": "Always", "nodeSelector": {"a": 1}, "tolerations": {"key": "x"}}},
    {"spec": {"volumes": [{"name": "work"}, {"name": "work", "emptyDir": {}}]}},
    {"spec": {"terminationGracePeriodSeconds": -5, "activeDeadlineSeconds": 0}},
    {"spec": {"schedulerName": "", "priority": "high", "resourceClaims": [{}]}},
    {"metadata": {"labels": {"rlvr.dev/job": "another", "bad key!": "x" * 100}, "name": "mine"}},
    {"metadata": [], "spec": None},
    {"kind": "Pod", "spec": {"containers": [None, {}]}, "status": {"phase": "Running"}},
    {"spec": {"containers": [{"name": "big", "env": [{"name": f"V{i}", "value": "v" * 200} for i in range(500)]}]}},
)
CONTRADICTIONS: Final[tuple[dict[str, Any], ...]] = (
    {"spec.rollout.min": 5, "spec.rollout.max": 2},
    {"spec.learner.nodes": 4, "spec.learner.backend": {"local": {}}},
    {"spec.learner.backend": {"local": {}, "deepspeed": {}}},
    {"spec.training.tokenBudget": 1, "spec.rollout.sampling.maxTokens": 2**31 - 1},
    {"spec.training.minibatches": 3, "spec.training.promptsPerStep": 4},
    {"spec.algorithm.preset": "laserD", "spec.algorithm.lengthReward": {"kimi": {}}},
    {"spec.algorithm.preset": "archer", "spec.algorithm.kl": {"estimator": "k3", "coefficient": -1}},
    {"spec.scheduling": {"gang": "kueue"}},
    {"spec.scheduling": {"gang": "native", "queueName": "none", "topologyKey": "not a label!"}},
    {"spec.rollout.engine": "vllm", "spec.data.eval.forking": {}},
    {"spec.reward.verifiers": [{"exact": {}, "weight": 0}, {"format": {"pattern": "("}}]},
    {
        "spec.reward.verifiers": [
            {"custom": {"importPath": "os:system"}},
            {"http": {"url": "http://a"}, "weight": 1e300},
        ]
    },
    {"spec.limits": {"activeDeadlineSeconds": 1, "startupDeadlineSeconds": 2**31 - 1, "ttlSecondsAfterFinished": 0}},
    {"spec.checkpoint.uri": "file:///", "spec.checkpoint.every": 2**31 - 1, "spec.checkpoint.keep": 1},
    {"spec.suspend": True, "spec.managedBy": "someone.else/controller"},
    {"spec.learner.restart": {"maxRestarts": 0, "rules": [{"exitCodes": [255, 255], "action": "restart"}] * 16}},
    {"spec.data.train.procedural": {"task": "no_such_task", "size": 1, "params": {"x": [[{}]]}}},
    {"metadata.labels": {"kueue.x-k8s.io/queue-name": "x"}, "metadata.annotations": {"a": "b" * 1000}},
    {"metadata.finalizers": ["not-qualified"]},
    {"status": {"phase": "Succeeded", "conditions": [{"type": "Complete"}]}},
)


@dataclass
class Mutant:
    """A manifest and where it was changed."""

    manifest: dict[str, Any]
    changed: list[Path] = field(default_factory=list)


Mutation = Callable[[Mutant, random.Random], None]


def mutant(original: dict[str, Any], name: str, rng: random.Random) -> Mutant:
    """`original` under another name with one to four changes."""
    found = Mutant(copy.deepcopy(original))
    found.manifest["metadata"] = {"name": name}
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(MUTATIONS)(found, rng)
    return found


def _drop(mutant: Mutant, rng: random.Random) -> None:
    path = _any_path(mutant, rng)
    if "spec" in mutant.manifest:
        del _at(mutant.manifest, path[:-1])[path[-1]]
        mutant.changed.append(path)


def _replace(mutant: Mutant, rng: random.Random) -> None:
    _put(mutant, _any_path(mutant, rng), copy.deepcopy(rng.choice((*NUMBERS, *TEXTS, *OTHERS))))


def _bend_number(mutant: Mutant, rng: random.Random) -> None:
    numbers = [path for path, value in _leaves(mutant.manifest.get("spec"), ("spec",)) if _is_number(value)]
    if numbers:
        _put(mutant, rng.choice(numbers), rng.choice(NUMBERS))


def _add_unknown(mutant: Mutant, rng: random.Random) -> None:
    mappings = [path for path, value in _nodes(mutant.manifest.get("spec"), ("spec",)) if isinstance(value, dict)]
    if mappings:
        _put(mutant, (*rng.choice(mappings), rng.choice(("stepz", "extra field", "Ω", "a.b"))), rng.choice(OTHERS))


def _set_a_field(mutant: Mutant, rng: random.Random) -> None:
    """Any field that the schema has, most of them absent from examples, to something near its type."""
    path, schema = rng.choice(FIELDS)
    _put(mutant, path, _near(schema, rng))


def _contradict(mutant: Mutant, rng: random.Random) -> None:
    for path, value in rng.choice(CONTRADICTIONS).items():
        _put(mutant, tuple(path.split(".")), copy.deepcopy(value))


def _bend_template(mutant: Mutant, rng: random.Random) -> None:
    _put(
        mutant, ("spec", rng.choice(("learner", "rollout", "reward")), "template"), copy.deepcopy(rng.choice(TEMPLATES))
    )


def _rename(mutant: Mutant, rng: random.Random) -> None:
    name = str(mutant.manifest["metadata"].get("name"))
    wild = (f"{name}-{'x' * 40}", f"{name}.dotted", f"1{name}", name.upper(), f"{name}-", "é", "a b", "", 7, None)
    _put(mutant, ("metadata", "name"), rng.choice(wild))


MUTATIONS: Final[tuple[Mutation, ...]] = (
    _drop,
    _replace,
    _bend_number,
    _add_unknown,
    _set_a_field,
    _set_a_field,
    _set_a_field,
    _contradict,
    _bend_template,
    _rename,
)


def _near(schema: Schema, rng: random.Random) -> Any:
    """A value of the right type more often than not."""
    kind = schema["type"] if rng.random() < 0.8 else rng.choice(("integer", "string", "boolean", "array", "object"))
    if "enum" in schema and rng.random() < 0.8:
        return rng.choice(schema["enum"])
    if kind in {"integer", "number"}:
        low, high = schema.get("minimum", 0), schema.get("maximum", 100)
        return rng.choice((low, high, low - 1, high + 1, rng.choice(NUMBERS), rng.randint(0, 64)))
    simple = {"string": rng.choice((*TEXTS, "word")), "boolean": rng.random() < 0.5, "array": [{}] * rng.randint(0, 20)}
    return simple.get(kind, rng.choice(({}, {"a": 1})))


def _fields(schema: Schema, path: Path) -> Iterator[tuple[Path, Schema]]:
    for name, member in schema.get("properties", {}).items():
        yield (*path, name), member
        yield from _fields(member, (*path, name))


FIELDS: Final = tuple(_fields(job_schema()["properties"]["spec"], ("spec",)))


def _put(mutant: Mutant, path: Path, value: Any) -> None:
    """Set a value, making the mappings on the way unless something else is there."""
    node: Any = mutant.manifest
    for part in path[:-1]:
        if isinstance(node, dict):
            node = node.setdefault(part, {})
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
        else:
            return
    if isinstance(node, dict) or (isinstance(node, list) and isinstance(path[-1], int) and path[-1] < len(node)):
        node[path[-1]] = value
        mutant.changed.append(path)


def _any_path(mutant: Mutant, rng: random.Random) -> Path:
    """Somewhere below the spec, or the spec itself."""
    return rng.choice([path for path, _ in _nodes(mutant.manifest.get("spec"), ("spec",))])


def _nodes(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    yield path, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from _nodes(child, (*path, key))


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    return ((where, found) for where, found in _nodes(value, path) if not isinstance(found, dict | list))


def _at(tree: Any, path: Path) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
