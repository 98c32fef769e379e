"""The default job with its checkpoints in a real S3 server: healthy, answering 500 for 30 seconds, and full."""

import time
from collections.abc import Callable
from pathlib import Path

from e2e.running import kill_everything, output, prove_exactly_once, run_to_end, start, wait_until
from object_store import ObjectStoreServer, a_door, environment, s3_environment
from rlvr_trainer.samples import CoordinatorState
from rlvr_trainer.storage.checkpoints import open_checkpoints
from rlvr_trainer.wire import from_json

SETTINGS = (
    "spec.training.promptsPerStep=8",
    "spec.training.groupSize=4",
    "spec.data.eval.procedural.size=16",
    "spec.checkpoint.every=2",
)


def fetch_newest(uri: str, folder: Path, keys: dict[str, str]) -> Path:
    """Download the newest complete checkpoint to where the checks of `running` look."""
    with environment(keys):
        checkpoint = open_checkpoints(uri, keep=3).restore(
            folder / "checkpoints" / "step-fetched", accept=lambda _: True
        )
    assert checkpoint is not None
    (folder / "checkpoints" / "step-fetched" / "READY").touch()
    return folder / "checkpoints" / "step-fetched"


def has_checkpoint(uri: str, keys: dict[str, str]) -> Callable[[], bool]:
    def found() -> bool:
        with environment(keys):
            return open_checkpoints(uri, keep=3).newest(lambda _: True) is not None

    return found


def test_checkpoints_in_a_real_object_store_hold_the_ledger(tmp_path: Path, object_store: ObjectStoreServer) -> None:
    uri, keys = f"s3://{object_store.make_bucket()}/job", object_store.environment
    run_to_end(tmp_path / "run", *SETTINGS, "spec.training.steps=4", f"spec.checkpoint.uri={uri}", environment=keys)

    newest = fetch_newest(uri, tmp_path / "run", keys)
    assert from_json((newest / "coordinator.json").read_bytes(), CoordinatorState).ledger.watermark >= 4 * 8
    prove_exactly_once(tmp_path / "run", steps=4, prompts_per_step=8)


def test_a_store_that_answers_500_for_30_seconds_is_waited_for(tmp_path: Path, object_store: ObjectStoreServer) -> None:
    uri = f"s3://{object_store.make_bucket()}/job"
    with a_door(object_store.endpoint) as (endpoint, door):
        keys = s3_environment(endpoint)
        process = start(
            tmp_path / "run", *SETTINGS, "spec.training.steps=40", f"spec.checkpoint.uri={uri}", environment=keys
        )
        try:
            wait_until(has_checkpoint(uri, object_store.environment), seconds=90)
            door.refusal = 500
            time.sleep(30)
            door.refusal = None
            assert process.wait(240) == 0, output(tmp_path / "run")[-3000:]
        finally:
            kill_everything(tmp_path / "run", process)
    assert door.num_refused > 0
    assert "500" in output(tmp_path / "run")
    fetch_newest(uri, tmp_path / "run", object_store.environment)
    prove_exactly_once(tmp_path / "run", steps=40, prompts_per_step=8)


def test_a_store_that_says_it_is_full_makes_training_wait_until_somebody_makes_room(
    tmp_path: Path, object_store: ObjectStoreServer
) -> None:
    """507 from the door; a server that is really full is in integration/test_storage_s3.py."""
    uri = f"s3://{object_store.make_bucket()}/job"
    with a_door(object_store.endpoint) as (endpoint, door):
        process = start(
            tmp_path / "run",
            *SETTINGS,
            "spec.training.steps=12",
            f"spec.checkpoint.uri={uri}",
            environment=s3_environment(endpoint),
        )
        try:
            wait_until(has_checkpoint(uri, object_store.environment), seconds=90)
            door.refusal = 507
            wait_until(lambda: "The store is full" in output(tmp_path / "run"), seconds=90)
            assert not (tmp_path / "run" / "result.json").exists()
            door.refusal = None
            assert process.wait(240) == 0, output(tmp_path / "run")[-3000:]
        finally:
            kill_everything(tmp_path / "run", process)
    fetch_newest(uri, tmp_path / "run", object_store.environment)
    prove_exactly_once(tmp_path / "run", steps=12, prompts_per_step=8)
