import os
from pathlib import Path

import pytest

from rlvr_trainer.errors import CorruptArtifact, InvalidInput
from rlvr_trainer.storage.store import Entry, ObjectStore, check_writable, open_store
from storing import a_memory_store


@pytest.fixture(params=["memory", "path", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    match request.param:
        case "memory":
            return a_memory_store()
        case "path":
            return open_store(str(tmp_path / "kept"))
        case _:
            return open_store(f"file://{tmp_path}/kept/")


def test_bytes_and_files_come_back_as_they_were(store: ObjectStore, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"policy")
    store.put_file(tmp_path / "source", "step-000001/model")
    store.put_bytes(b"old", "latest")
    store.put_bytes(b"new", "latest")
    store.get_file("step-000001/model", tmp_path / "deep" / "target")

    assert (tmp_path / "deep" / "target").read_bytes() == b"policy"
    assert store.get_bytes("latest") == b"new"
    assert store.entries() == (Entry("latest", 3), Entry("step-000001/model", 6))
    assert store.entries("step-000001") == (Entry("step-000001/model", 6),)


def test_deleting_is_repeatable_and_stays_inside_the_prefix(store: ObjectStore) -> None:
    for key in ("a/x", "a/y", "ab", "b"):
        store.put_bytes(b"1", key)

    for _ in range(2):
        store.delete("b")
        store.delete_prefix("a")

    assert store.entries() == (Entry("ab", 1),)
    assert not store.exists("b")
    assert store.exists("ab")


def test_an_empty_place_lists_nothing(store: ObjectStore) -> None:
    assert store.entries() == ()
    assert not store.exists("latest")


def test_a_key_that_should_be_there_is_corruption(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match="step-000001/model does not exist"):
        store.get_bytes("step-000001/model")
    with pytest.raises(CorruptArtifact, match="does not exist"):
        store.get_file("step-000001/model", tmp_path / "target")


def test_only_a_folder_knows_its_free_space(tmp_path: Path) -> None:
    free = open_store(str(tmp_path / "not" / "yet" / "there")).free_bytes()

    assert free is not None
    assert 0 < free <= os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize
    assert a_memory_store().free_bytes() is None


def test_a_failed_write_leaves_the_old_bytes_and_no_litter(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.put_bytes(b"old", "latest")

    with pytest.raises(InvalidInput):
        store.put_file(tmp_path / "missing", "latest")

    assert store.get_bytes("latest") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("", "names no bucket or folder"),
        ("file://", "names no bucket or folder"),
        ("s3://", "names no bucket or folder"),
        ("ftq://host/folder", "no kind of store"),
        ("gs://bucket/folder", r"rlvr-operator\[gcs\]"),
        ("/proc/checkpoints", "cannot write /proc/checkpoints"),
        ("/dev/null/checkpoints", "cannot write /dev/null/checkpoints"),
    ],
)
def test_a_place_that_cannot_hold_checkpoints_is_refused(uri: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        check_writable(uri)


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_writable(str(tmp_path))

    assert list(tmp_path.iterdir()) == []
