import logging
from pathlib import Path

import msgspec
import pytest

from rlvr_trainer.errors import CorruptArtifact, InvalidInput, Unavailable
from rlvr_trainer.storage.checkpoints import FORM, Checkpoints, Delete, Manifest, Put, carry_out, describe, plan_save
from rlvr_trainer.storage.layout import MANIFEST, READY
from rlvr_trainer.storage.store import ObjectStore
from rlvr_trainer.wire import from_json, to_json
from storing import WatchedStore, a_memory_store, an_origin, anything, content_of, failing, files_of, save


@pytest.fixture
def store() -> ObjectStore:
    return a_memory_store()


def test_ready_is_withdrawn_first_and_written_last(tmp_path: Path) -> None:
    files = files_of(7, tmp_path)

    plan = plan_save(files, describe(7, files, an_origin()))

    assert plan[0] == Delete("step-000007/READY")
    assert [operation.key for operation in plan[1:] if isinstance(operation, Put)] == [
        "step-000007/model.safetensors",
        "step-000007/coordinator.json",
        "step-000007/manifest.json",
        "step-000007/READY",
        "latest",
    ]


def test_the_manifest_speaks_camel_case(tmp_path: Path) -> None:
    data = to_json(describe(7, {}, an_origin(attempt=2)))

    assert from_json(data, dict) == {
        "attempt": 2,
        "jobDigest": "job",
        "worldSize": 1,
        "run": "",
        "step": 7,
        "files": {},
        "form": 2,
    }


def test_what_was_saved_is_restored(store: ObjectStore, tmp_path: Path) -> None:
    save(store, 10, tmp_path / "staged")

    restored = Checkpoints(store, keep=3).restore(tmp_path / "out", accept=anything)

    assert restored is not None
    assert restored.step == 10
    assert restored.uri == f"{store.uri}/step-000010"
    for name in ("model.safetensors", "coordinator.json"):
        assert (tmp_path / "out" / name).read_bytes() == content_of(10, name)


def test_nothing_saved_is_no_checkpoint(store: ObjectStore) -> None:
    assert Checkpoints(store, keep=3).newest(anything) is None


def test_retention_keeps_the_newest_few(store: ObjectStore, tmp_path: Path) -> None:
    for step in (10, 20, 30, 40):
        save(store, step, tmp_path, keep=2)

    assert [item.step for item in Checkpoints(store, keep=2).stored()] == [30, 40]
    assert store.get_bytes("latest") == b"step-000040"


def test_a_checkpoint_of_another_job_is_passed_over(store: ObjectStore, tmp_path: Path) -> None:
    checkpoints = Checkpoints(store, keep=3)
    checkpoints.save(10, files_of(10, tmp_path), an_origin(job_digest="mine"))
    checkpoints.save(20, files_of(20, tmp_path), an_origin(job_digest="another"))

    newest = checkpoints.newest(lambda manifest: manifest.job_digest == "mine")

    assert newest is not None
    assert newest.step == 10


@pytest.mark.parametrize(
    ("key", "data"),
    [
        (READY, None),
        (READY, b"0" * 64),
        (MANIFEST, b"{not json"),
        (MANIFEST, None),
        ("model.safetensors", None),
        ("model.safetensors", b"shorter"),
        ("model.safetensors", content_of(21, "model.safetensors")),
    ],
)
def test_a_damaged_checkpoint_is_skipped_and_named(
    store: ObjectStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, data: bytes | None
) -> None:
    save(store, 10, tmp_path / "10")
    save(store, 20, tmp_path / "20")
    damaged = f"step-000020/{key}"
    store.delete(damaged) if data is None else store.put_bytes(data, damaged)

    with caplog.at_level(logging.WARNING):
        restored = Checkpoints(store, keep=3).restore(tmp_path / "out", accept=anything)

    assert restored is not None
    assert restored.step == 10
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == content_of(10, "model.safetensors")
    assert "step-000020" in caplog.text


def test_a_checkpoint_whose_form_is_not_read_is_no_reason_to_take_an_older_one(
    store: ObjectStore, tmp_path: Path
) -> None:
    save(store, 10, tmp_path / "10")
    checkpoints = Checkpoints(store, keep=3)
    files = files_of(20, tmp_path)
    newer = msgspec.structs.replace(describe(20, files, an_origin()), form=FORM + 1)
    for operation in plan_save(files, newer):
        carry_out(operation, store)

    with pytest.raises(InvalidInput, match=r"step-000020 has form 3; this version reads 2\. Go on with the version"):
        checkpoints.restore(tmp_path / "out", accept=anything)


def test_a_manifest_that_names_no_form_has_the_first(store: ObjectStore, tmp_path: Path) -> None:
    said = from_json(to_json(describe(7, files_of(7, tmp_path), an_origin())), dict)
    del said["form"], said["run"]

    assert from_json(to_json(said), Manifest).form == 1


def test_a_manifest_cannot_reach_outside_its_folder(store: ObjectStore, tmp_path: Path) -> None:
    Checkpoints(store, keep=3).save(10, {"../step-000011/x": files_of(10, tmp_path)["coordinator.json"]}, an_origin())

    assert Checkpoints(store, keep=3).newest(anything) is None


def test_a_store_that_is_away_is_not_an_empty_store(store: ObjectStore, tmp_path: Path) -> None:
    save(store, 10, tmp_path)

    def away(_number: int, _method: str, _key: str) -> None:
        raise Unavailable("away")

    with pytest.raises(Unavailable, match="away"):
        Checkpoints(WatchedStore(store, away), keep=3).newest(anything)


def test_a_save_that_fails_leaves_the_previous_checkpoint(store: ObjectStore, tmp_path: Path) -> None:
    save(store, 10, tmp_path)

    with pytest.raises(Unavailable, match="away"):
        save(failing(store, [Unavailable("away")]), 20, tmp_path)

    newest = Checkpoints(store, keep=3).newest(anything)
    assert newest is not None
    assert newest.step == 10


def test_fetching_compares_every_hash(store: ObjectStore, tmp_path: Path) -> None:
    checkpoints = Checkpoints(store, keep=3)
    checkpoint = checkpoints.save(10, files_of(10, tmp_path), an_origin())
    store.put_bytes(content_of(11, "coordinator.json"), "step-000010/coordinator.json")

    with pytest.raises(CorruptArtifact, match=r"coordinator\.json has sha256"):
        checkpoints.fetch(checkpoint, tmp_path / "out")


def test_a_step_saved_again_replaces_its_older_self(store: ObjectStore, tmp_path: Path) -> None:
    save(store, 10, tmp_path)
    (tmp_path / "other").write_bytes(b"other")
    Checkpoints(store, keep=3).save(10, {"other": tmp_path / "other"}, an_origin(attempt=2))

    restored = Checkpoints(store, keep=3).restore(tmp_path / "out", accept=anything)

    assert restored is not None
    assert restored.manifest.attempt == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["other"]
