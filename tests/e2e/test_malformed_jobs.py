"""Whatever is wrong with a job ends `rlvr run` before any process starts, with a message a user can act on."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e.running import EXAMPLE, RLVR
from rlvr_trainer.models import builtin_path

Job = dict[str, Any]
Breaker = Callable[[Job, Path], None]
INVALID = 64


def put(path: str, value: object) -> Breaker:
    """Set one field."""

    def breaks(job: Job, _: Path) -> None:
        *parents, last = path.split(".")
        target = job
        for name in parents:
            target = target.setdefault(name, {})
        target[last] = value

    return breaks


def drop(path: str) -> Breaker:
    def breaks(job: Job, _: Path) -> None:
        *parents, last = path.split(".")
        target = job
        for name in parents:
            target = target[name]
        del target[last]

    return breaks


def train_on(name: str, content: bytes) -> Breaker:
    """Train on a file with this content."""

    def breaks(job: Job, folder: Path) -> None:
        (folder / name).write_bytes(content)
        job["spec"]["data"]["train"] = {
            "file": {"path": str(folder / name)},
            "template": {"plain": {"text": "{question}"}},
        }

    return breaks


def lines(*records: object) -> bytes:
    return "\n".join(json.dumps(record) for record in records).encode()


def model_without(*names: str) -> Breaker:
    """The shipped model as a directory that lacks files."""

    def breaks(job: Job, folder: Path) -> None:
        shutil.copytree(builtin_path("arithmetic"), folder / "model")
        for name in names:
            (folder / "model" / name).unlink()
        job["spec"]["model"] = {"path": str(folder / "model")}

    return breaks


def another_architecture(job: Job, folder: Path) -> None:
    model_without()(job, folder)
    config = json.loads((folder / "model" / "config.json").read_text())
    (folder / "model" / "config.json").write_text(json.dumps({**config, "model_type": "mamba"}))


GOOD = {"question": "1 + 1 =", "answer": "2"}
CASES: dict[str, tuple[Breaker, tuple[str, ...]]] = {
    "negative steps": (put("spec.training.steps", -3), ("spec.training.steps", "-3")),
    "a word for a number": (put("spec.training.steps", "many"), ("spec.training.steps", "many")),
    "a misspelt key": (put("spec.training.stepz", 3), ("stepz", "steps")),
    "an unknown preset": (put("spec.algorithm.preset", "dapoo"), ("spec.algorithm.preset", "dapoo", "dapo")),
    "no reward": (drop("spec.reward"), ("spec.reward",)),
    "no model": (put("spec.model", {}), ("spec.model", "builtin")),
    "two sources": (put("spec.data.train.file", {"path": "x.jsonl"}), ("spec.data.train", "exactly one")),
    "an unknown verifier": (put("spec.reward.verifiers", [{"exactly": {}}]), ("exactly", "exact")),
    "a learning rate of zero": (put("spec.training.optimizer.learningRate", 0), ("learningRate",)),
    "a group of one": (put("spec.training.groupSize", 1), ("spec.training.groupSize", "1")),
    "uneven minibatches": (put("spec.training.minibatches", 7), ("minibatches", "promptsPerStep")),
    "another kind": (put("kind", "RLVRJobs"), ("kind", "RLVRJob")),
    "another version": (put("apiVersion", "rlvr.dev/v2"), ("apiVersion", "rlvr.dev/v1alpha1")),
    "a name of 41 letters": (put("metadata.name", "a" * 41), ("metadata.name", "40")),
    "an unknown builtin model": (put("spec.model.builtin", "algebra"), ("algebra", "arithmetic")),
    "a missing model folder": (put("spec.model", {"path": "/nowhere/model"}), ("/nowhere/model",)),
    "a model without tokenizer": (model_without("tokenizer.json"), ("tokenizer.json",)),
    "a model without weights": (model_without("model.safetensors"), ("safetensors",)),
    "a model without configuration": (model_without("config.json"), ("config.json",)),
    "an architecture the engine does not know": (another_architecture, ("mamba",)),
    "a chat template the model lacks": (put("spec.data.train.template", {"chat": {}}), ("chat", "template")),
    "an unknown task": (put("spec.data.train.procedural.task", "chain_sums"), ("chain_sums", "chain_sum")),
    "an unknown task parameter": (put("spec.data.train.procedural.params", {"min_term": 2}), ("min_term",)),
    "an unknown field in the template": (
        put("spec.data.train.template.plain.text", "{expresion} ="),
        ("expresion", "expression"),
    ),
    "more tokens than the context": (put("spec.rollout.sampling.maxTokens", 100_000), ("maxTokens", "100000")),
    "a missing data file": (put("spec.data.train", {"file": {"path": "/nowhere.jsonl"}}), ("/nowhere.jsonl",)),
    "an empty data file": (train_on("empty.jsonl", b""), ("empty.jsonl",)),
    "a record without answer": (train_on("a.jsonl", lines(GOOD, {"question": "2 + 2 ="})), ("a.jsonl", "2", "answer")),
    "an answer of a wrong type": (
        train_on("b.jsonl", lines(GOOD, {"question": "2 + 2 =", "answer": [4]})),
        ("b.jsonl", "answer"),
    ),
    "bad UTF-8 in a data file": (train_on("c.jsonl", lines(GOOD) + b'\n{"question": "\xff"}'), ("c.jsonl", "UTF-8")),
    "broken JSON in a data file": (train_on("d.jsonl", lines(GOOD) + b'\n{"question": '), ("d.jsonl", "2")),
    "a record that is a list": (train_on("e.jsonl", b"[1, 2]"), ("e.jsonl",)),
    "parquet that is not parquet": (train_on("f.parquet", b"not parquet"), ("f.parquet",)),
    "a prompt longer than the context": (
        train_on("g.jsonl", lines(GOOD, {"question": "1 + " * 200, "answer": "2"})),
        ("g.jsonl", "2"),
    ),
    "an unwritable checkpoint folder": (put("spec.checkpoint.uri", "/proc/checkpoints"), ("/proc/checkpoints",)),
    "an unknown checkpoint scheme": (put("spec.checkpoint.uri", "ftp://host/job"), ("ftp",)),
    "an engine that is not known": (put("spec.rollout.engine", "sglang"), ("spec.rollout.engine", "sglang", "local")),
    "two nodes without a backend for them": (put("spec.learner.nodes", 2), ("nodes", "deepspeed")),
    "a method without its numbers": (put("spec.algorithm.preset", "laserD"), ("laserD",)),
}
FILES: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "an empty manifest": (b"", ("empty",)),
    "broken YAML": (b"spec: [1, 2", ("line",)),
    "bad UTF-8": (b"spec: \xff", ("UTF-8",)),
    "a list": (b"- 1\n- 2\n", ("mapping",)),
    "a key twice": (EXAMPLE.read_bytes() + b"\nkind: RLVRJob\n", ("kind", "twice")),
    "two documents": (EXAMPLE.read_bytes() + b"\n---\n" + EXAMPLE.read_bytes(), ("document",)),
}


def refusal_of(job: Path, folder: Path) -> str:
    """What `rlvr run` says about `job`; it must refuse it before anything starts."""
    done = subprocess.run(
        [RLVR, "run", job, "--dir", folder, "--plain"], check=False, capture_output=True, text=True, timeout=60
    )
    said = done.stdout + done.stderr
    assert done.returncode == INVALID, said
    assert "Traceback" not in said
    assert not list(folder.glob("logs/*"))
    return said


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_job_is_refused_with_the_field_and_the_value(case: str, tmp_path: Path) -> None:
    breaks, words = CASES[case]
    job = yaml.safe_load(EXAMPLE.read_text())
    breaks(job, tmp_path)
    manifest = tmp_path / "job.yaml"
    manifest.write_text(yaml.safe_dump(job))

    said = refusal_of(manifest, tmp_path / "run")

    assert [word for word in words if word not in said] == [], said


@pytest.mark.parametrize("case", FILES)
def test_a_file_that_is_no_manifest_is_refused(case: str, tmp_path: Path) -> None:
    content, words = FILES[case]
    manifest = tmp_path / "job.yaml"
    manifest.write_bytes(content)

    said = refusal_of(manifest, tmp_path / "run")

    assert [word for word in words if word not in said] == [], said
