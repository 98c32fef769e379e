"""A malformed manifest ends in one error that names each problem: line, field, value, rule, way out."""

from pathlib import Path

import pytest

from rlvr_trainer.cli.manifest import InvalidManifest, load_manifest, read_manifest
from rlvr_trainer.errors import InvalidInput

EXAMPLES = Path(__file__).parents[3] / "examples"
GOOD = """\
apiVersion: rlvr.dev/v1alpha1
kind: RLVRJob
metadata: {name: test}
spec:
  model: {builtin: arithmetic}
  data:
    train:
      procedural: {task: chain_sum, size: 64}
  algorithm:
    preset: dapo
  training:
    steps: 3
    promptsPerStep: 4
  rollout:
    engine: local
    sampling: {maxTokens: 64}
  reward:
    verifiers:
      - exact: {}
"""


def problems(path: Path, text: str | bytes, *settings: str) -> tuple[str, ...]:
    file = path / "job.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidManifest) as caught:
        load_manifest(file, settings=settings)
    return caught.value.problems


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


MALFORMED = [
    ("", "is empty: write an RLVRJob"),
    ("# only a comment\n---\n", "is empty"),
    (GOOD + "---\n" + GOOD, "holds 2 documents (at lines 1, 21): keep one RLVRJob in a file of its own."),
    (b"kind: \xff\xfe", "line 1: byte 0xff is not UTF-8: save the file with UTF-8 encoding."),
    (changed("    steps: 3", "\tsteps: 3"), "line 12, column 1: not YAML"),
    (changed("preset: dapo", "preset: dapo: grpo"), "Put text that contains `: ` in quotes."),
    (changed("{builtin: arithmetic}", "{builtin: 'arithmetic}"), "A quote or bracket is not closed."),
    ("- a\n- b\n", 'is ["a", "b"]: must be a mapping, the RLVRJob itself'),
    (changed("kind: RLVRJob", "kind: Job"), 'line 2: kind is "Job": write `kind: RLVRJob`.'),
    (changed("v1alpha1", "v1"), 'line 1: apiVersion is "rlvr.dev/v1": write `apiVersion: rlvr.dev/v1alpha1`.'),
    (changed("kind: RLVRJob\n", ""), "kind is missing: write `kind: RLVRJob`."),
    (changed("steps: 3", "steps: 3\n    steps: 4"), "line 13: spec.training.steps is written twice: keep one."),
    (changed("    steps: 3\n", ""), "line 11: spec.training.steps is missing: Training ends after this many steps."),
    (changed("steps: 3", "steps: ten"), 'line 12: spec.training.steps is "ten": must be a whole number.'),
    (changed("steps: 3", 'steps: "10"'), "Write 10 without quotes."),
    (changed("steps: 3", "steps: -3"), "line 12: spec.training.steps is -3: must be at least 1."),
    (changed("steps: 3", "steps:"), "line 12: spec.training.steps has no value"),
    (changed("steps: 3", "steps: 3\n    seed: .inf"), "spec.training.seed is Infinity: must be a whole number."),
    (
        changed("promptsPerStep", "prompts_per_step"),
        "line 13: spec.training.prompts_per_step is not a field: did you mean promptsPerStep?",
    ),
    (
        changed("steps: 3", "steps: 3\n    lora: {rank: 0, alpha: 0}"),
        "line 13: spec.training.lora.rank is 0: must be at least 1.",
    ),
    (
        changed("steps: 3", "steps: 3\n    lora: {alpha: 0}"),
        "line 13: spec.training.lora.alpha is 0: must be above 0.",
    ),
    (changed("steps: 3", "steps: 3\n    stepz: 3"), "line 13: spec.training.stepz is not a field: did you mean steps?"),
    (changed("steps: 3", "steps: 3\n    hue: 3"), "spec.training.hue is not a field: there is steps, "),
    (changed("preset: dapo", "preset: dap0"), 'line 10: spec.algorithm.preset is "dap0": must be one of grpo, dapo'),
    (changed("preset: dapo", "preset: dr-grpo"), "did you mean drGrpo?"),
    (changed("metadata: {name: test}", "metadata: {name: My_Job}"), "must begin with a letter and hold only a-z"),
    (changed("{name: test}", "{name: " + "n" * 41 + "}"), "must be at most 40 characters long."),
    (changed("{builtin: arithmetic}", "arithmetic"), 'line 5: spec.model is "arithmetic": must be a mapping'),
    (
        changed("{builtin: arithmetic}", "{builtin: a, path: /b}"),
        "line 5: spec.model: set exactly one of builtin, path, hub; it has builtin and path.",
    ),
    (changed("- exact: {}", "- weight: 2"), "spec.reward.verifiers[0]: set exactly one of exact, math"),
    (
        changed("- exact: {}", "- exakt: {}"),
        "line 19: spec.reward.verifiers[0].exakt is not a field: did you mean exact?",
    ),
    (changed("\n      - exact: {}", " []"), "line 18: spec.reward.verifiers is []: must be a list of at least 1"),
    (changed("- exact: {}", "- custom: {importPath: score}"), "must have the form package.module:function."),
    (changed("{maxTokens: 64}", "{maxTokens: 64, temperature: 0}"), "must be above 0."),
    (changed("{maxTokens: 64}", "{maxTokens: 64, topP: 1.5}"), "must be at most 1."),
    (changed("{maxTokens: 64}", "{maxTokens: 20000}"), "training.tokenBudget 16384 cannot hold"),
    (changed("engine: local", "engine: yes"), "line 15: spec.rollout.engine is true: must be one of vllm, local"),
    (
        changed("preset: dapo", "preset: laser"),
        "line 9: spec.algorithm.lengthReward.laser.targetTokens: algorithm: 8192",
    ),
    (changed("chain_sum, size: 64", "chain_sum"), "spec.data.train.procedural.size is missing"),
    (GOOD + "  checkpoint: {uri: 'ftp://host/x'}\n", "or begin with file://, s3://, gs:// or az://."),
    (changed("spec:", "spec:\n  7: x"), "line 5: spec.7 has a key that is not text: write it as '7'."),
]


@pytest.mark.parametrize(("text", "message"), MALFORMED)
def test_a_malformed_manifest_says_what_to_change(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert any(message in problem for problem in problems(tmp_path, text))


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = changed("steps: 3", "stpes: 3").replace("builtin: arithmetic", "builtin: 7").replace("local", "lokal")

    found = problems(tmp_path, text)

    assert [problem.split(" is ")[0] for problem in found] == [
        "line 5: spec.model.builtin",
        "line 11: spec.training.steps",
        "line 12: spec.training.stpes",
        "line 15: spec.rollout.engine",
    ]


def test_the_error_names_the_file_and_counts_its_problems(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(changed("steps: 3", "steps: 0"))

    with pytest.raises(InvalidInput, match=r"job\.yaml: 1 problem\n  line 12"):
        load_manifest(tmp_path / "job.yaml")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match=r"absent\.yaml.*\n.*No such file or directory"):
        load_manifest(tmp_path / "absent.yaml")


def test_a_folder_is_not_a_manifest(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="Is a directory"):
        load_manifest(tmp_path)


def test_numbers_and_text_are_read_as_the_api_server_reads_them(tmp_path: Path) -> None:
    text = changed("steps: 3", "steps: 3\n    optimizer: {learningRate: 1e-4}").replace(
        "{builtin: arithmetic}", "{hub: {repository: a/b, revision: 2026-01-01}}"
    )
    (tmp_path / "job.yaml").write_text("\ufeff" + text)

    spec = load_manifest(tmp_path / "job.yaml").spec
    assert spec.training.optimizer.learning_rate == 1e-4
    assert spec.model.hub is not None
    assert spec.model.hub.revision == "2026-01-01"


def test_a_setting_replaces_what_the_file_says_and_makes_what_it_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(GOOD)

    settings = ["spec.training.steps=5", "spec.checkpoint.uri=s3://a/b", "spec.reward.verifiers.0.weight=2.5"]
    spec = load_manifest(tmp_path / "job.yaml", settings=settings).spec

    assert (spec.training.steps, spec.checkpoint.uri, spec.reward.verifiers[0].weight) == (5, "s3://a/b", 2.5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.steps=5", "write it as spec.some.field=value."),
        ("spec.training.steps", "write it as spec.some.field=value."),
        ("spec.training.steps.x=1", "spec.training.steps.x does not lead to a field"),
        ("spec.training.stepz=1", "spec.training.stepz is not a field: did you mean steps?"),
        ("spec.training.steps=[", "'[' is not a value"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(tmp_path: Path, setting: str, message: str) -> None:
    (problem,) = problems(tmp_path, GOOD, setting)

    assert message in problem


def test_the_line_of_a_field_is_known(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(GOOD)

    manifest = read_manifest(tmp_path / "job.yaml")
    assert manifest.line_of("spec.training.steps") == 12
    assert manifest.line_of("spec.reward.verifiers[0].exact") == 19
    assert manifest.line_of("spec.checkpoint.uri") is None


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_is_valid(path: Path) -> None:
    load_manifest(path)
