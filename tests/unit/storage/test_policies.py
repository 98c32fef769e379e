import hashlib
from pathlib import Path

import pytest

from rlvr_trainer.errors import CorruptArtifact
from rlvr_trainer.storage.policies import (
    expendable,
    newest_policies,
    prune,
    read_manifest,
    seal_policy,
    step_of,
    verify_policy,
)


def a_policy(policies: Path, *, step: int, weights: bytes = b"weights") -> str:
    folder = policies / f"step-{step}.tmp"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return seal_policy(folder, step=step)


def test_the_label_is_the_step_and_the_hash_of_the_manifest(tmp_path: Path) -> None:
    label = a_policy(tmp_path, step=17)

    manifest = (tmp_path / label / "manifest.json").read_bytes()
    assert label == f"17-{hashlib.sha256(manifest).hexdigest()[:12]}"
    assert read_manifest(manifest, label=label)["model.safetensors"].bytes == 7
    assert sorted(path.name for path in (tmp_path / label).iterdir()) == [
        "READY",
        "config.json",
        "manifest.json",
        "model.safetensors",
    ]


def test_a_folder_within_is_sealed_too(tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    (draft / "adapter").mkdir(parents=True)
    (draft / "adapter" / "adapter_config.json").write_text("{}")
    folder = tmp_path / seal_policy(draft, step=17)
    verify_policy(folder)

    assert read_manifest((folder / "manifest.json").read_bytes(), label=folder.name).keys() == {
        "adapter/adapter_config.json"
    }
    (folder / "adapter" / "adapter_config.json").unlink()
    with pytest.raises(CorruptArtifact, match=r"adapter_config\.json is missing"):
        verify_policy(folder)


def test_other_weights_get_another_label(tmp_path: Path) -> None:
    assert a_policy(tmp_path, step=17) != a_policy(tmp_path, step=17, weights=b"others")


def test_the_same_policy_sealed_twice_is_one_folder(tmp_path: Path) -> None:
    labels = {a_policy(tmp_path, step=17), a_policy(tmp_path, step=17)}

    assert [path.name for path in tmp_path.iterdir()] == list(labels)


def test_a_half_sealed_folder_is_replaced(tmp_path: Path) -> None:
    label = a_policy(tmp_path, step=17)
    (tmp_path / label / "READY").unlink()
    (tmp_path / label / "model.safetensors").unlink()

    assert a_policy(tmp_path, step=17) == label
    verify_policy(tmp_path / label)


def test_a_whole_policy_verifies_and_a_damaged_one_does_not(tmp_path: Path) -> None:
    folder = tmp_path / a_policy(tmp_path, step=17)
    verify_policy(folder)

    (folder / "model.safetensors").write_bytes(b"weighty")
    with pytest.raises(CorruptArtifact, match=r"model\.safetensors has sha256"):
        verify_policy(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CorruptArtifact, match=r"model\.safetensors is missing"):
        verify_policy(folder)


def test_a_manifest_of_another_label_is_refused() -> None:
    with pytest.raises(CorruptArtifact, match="does not match its label"):
        read_manifest(b'{"files": {}}', label="17-000000000000")


def test_a_manifest_cannot_name_files_elsewhere() -> None:
    data = b'{"files": {"../../etc/passwd": {"bytes": 1, "sha256": ""}}}'

    with pytest.raises(CorruptArtifact, match="outside its folder"):
        read_manifest(data, label=f"17-{hashlib.sha256(data).hexdigest()[:12]}")


def test_policies_are_listed_newest_first_without_unfinished_ones(tmp_path: Path) -> None:
    labels = [a_policy(tmp_path, step=step) for step in (2, 10, 9)]
    (tmp_path / labels[0] / "READY").unlink()

    assert [step_of(label) for label in newest_policies(tmp_path)] == [10, 9]
    assert newest_policies(tmp_path / "absent") == ()


def test_pruning_keeps_the_newest_and_the_protected(tmp_path: Path) -> None:
    labels = {step: a_policy(tmp_path, step=step) for step in range(5)}

    prune(tmp_path, keep=2, protected={labels[0]})

    assert [step_of(label) for label in newest_policies(tmp_path)] == [4, 3, 0]


def test_no_protected_label_is_ever_expendable() -> None:
    labels = [f"{step}-{'0' * 12}" for step in range(6)]

    assert set(expendable(labels, keep=1, protected=labels[:3])) == set(labels[3:5])
