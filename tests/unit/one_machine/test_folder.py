from pathlib import Path

import pytest

from builders import a_job
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.one_machine.folder import RunFolder, changed_fields, located, refuse_another_job

TRAINING = {"steps": 3, "promptsPerStep": 4, "groupSize": 4}


def test_the_first_attempt_is_0_and_none_is_ever_repeated(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.next_attempt() == 0

    for attempt in (0, 1, 10):
        folder.claim_attempt(attempt)

    assert folder.next_attempt() == 11


def test_the_token_is_for_its_owner_only_and_stays_when_the_run_goes_on(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.prepare(a_job())
    token = folder.token.read_text()

    folder.prepare(a_job())

    assert folder.token.stat().st_mode & 0o777 == 0o600
    assert folder.token.read_text() == token
    assert len(token) >= 40


def test_a_run_has_an_identity_that_its_successor_in_the_same_folder_does_not_inherit(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.prepare(a_job())
    first, token = folder.identity(), folder.token.read_text()
    folder.prepare(a_job())
    assert folder.identity() == first

    folder.token.unlink()
    folder.prepare(a_job())
    assert folder.identity() != first
    assert token not in first


def test_a_stored_job_is_the_same_job(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.stored_job() is None
    folder.prepare(a_job())

    assert folder.stored_job() == a_job()


def test_checkpoints_go_into_the_folder_unless_the_job_says_where(tmp_path: Path) -> None:
    elsewhere = a_job(checkpoint={"uri": "s3://bucket/job"})

    assert located(a_job(), RunFolder(tmp_path)).spec.checkpoint.uri == (tmp_path / "checkpoints").as_uri()
    assert located(elsewhere, RunFolder(tmp_path)) == elsewhere


def test_a_folder_goes_on_with_more_steps_more_replicas_and_other_limits(tmp_path: Path) -> None:
    changed = a_job(
        training={**TRAINING, "steps": 9},
        rollout={"engine": "local", "sampling": {"maxTokens": 64}, "replicas": 2},
        limits={"activeDeadlineSeconds": 60},
        checkpoint={"keep": 1},
    )

    refuse_another_job(changed, a_job(), folder=tmp_path)


def test_a_folder_refuses_another_job_and_names_what_changed(tmp_path: Path) -> None:
    changed = a_job(training={**TRAINING, "groupSize": 8}, algorithm={"preset": "grpo"})

    with pytest.raises(InvalidInput, match="--dir") as refusal:
        refuse_another_job(changed, a_job(), folder=tmp_path)

    assert 'spec.algorithm.preset ("dapo" -> "grpo")' in str(refusal.value)
    assert "spec.training.groupSize (4 -> 8)" in str(refusal.value)


def test_a_variant_that_replaces_another_shows_both() -> None:
    changed = a_job(reward={"verifiers": [{"math": {}}]})

    (difference,) = changed_fields(changed, a_job())
    assert difference.startswith('spec.reward.verifiers ([{"exact": {"answerAfter": "#"')
    assert difference.endswith('-> [{"math": {}, "weight": 1.0}])')


def test_one_supervisor_at_a_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with folder.locked(), pytest.raises(InvalidInput, match="in use by process"), folder.locked():
        pass

    with folder.locked():
        pass
