"""What an attempt leaves for those who look: reports, single tokens, gauges."""

import hashlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from learner_processes import reports_of
from learning import a_learner_job, a_model_folder, a_place, leave_batches, random_facts
from rlvr_api import RLVRJob
from rlvr_trainer.learner.app import main
from rlvr_trainer.learner.exchange import write_renamed
from rlvr_trainer.samples import CoordinatorState, Monitoring
from rlvr_trainer.wire import pack

OVERLAP = "rlvr_learner_entropy_overlap_ratio"
LASER_D = {"preset": "laserD", "lengthReward": {"laserD": {"lowestTokens": 4, "gridStep": 4}}}


@pytest.fixture(autouse=True)
def _leave_the_process_as_it_was() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    torch.use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_model_folder(tmp_path_factory.mktemp("model"))


def a_job(folder: Path, model_folder: Path, *, steps: int, **spec: Any) -> RLVRJob:
    return a_learner_job(model_folder, (folder / "checkpoints").as_uri(), steps=steps, **spec)


def test_a_report_says_where_the_time_went(tmp_path: Path, model_folder: Path) -> None:
    place = a_place(tmp_path, a_job(tmp_path, model_folder, steps=2), batches=2)
    main(place)

    first, second = (
        {key.split('"')[1] for key in report.metrics if key.startswith("rlvr_learner_step_seconds{")}
        for report in reports_of(place)
    )
    assert first == {"wait", "build", "look", "forward", "backward", "update", "observe"}
    assert second == first | {"publish", "checkpoint"}


def test_single_tokens_are_left_for_the_first_and_the_last_step(tmp_path: Path, model_folder: Path) -> None:
    place = a_place(tmp_path, a_job(tmp_path, model_folder, steps=3), batches=3)
    main(place)

    folder = place.attempt_folder / "microscope"
    assert sorted(path.name for path in folder.iterdir()) == ["step-000001.json", "step-000003.json"]
    seen = json.loads((folder / "step-000003.json").read_bytes())
    facts = random_facts(3)
    shown = [token["id"] for token in seen["answers"][0]["tokens"]]
    assert seen["step"] == 3 and len(seen["answers"]) == 8
    assert shown in [one.token_ids.tolist() for one in facts.groups[0].group.completions]


def test_they_are_left_at_every_evaluation_too(tmp_path: Path, model_folder: Path) -> None:
    procedural = {"task": "chain_sum", "size": 10}
    data = {"train": {"procedural": procedural}, "eval": {"procedural": {**procedural, "seed": 5}, "every": 2}}
    place = a_place(tmp_path, a_job(tmp_path, model_folder, steps=5, data=data), batches=5)
    main(place)

    names = sorted(path.name for path in (place.attempt_folder / "microscope").iterdir())
    assert names == [f"step-00000{step}.json" for step in (1, 2, 4, 5)]


def test_the_overlap_with_the_base_model_survives_a_resume(tmp_path: Path, model_folder: Path) -> None:
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    whole = a_place(straight, a_job(straight, model_folder, steps=4), batches=4)
    main(whole)
    main(a_place(broken, a_job(broken, model_folder, steps=2), batches=2))
    second = a_place(broken, a_job(broken, model_folder, steps=4), attempt=1)
    leave_batches(second, (3, 4))
    main(second)

    ends = [reports_of(place)[-1].metrics[OVERLAP] for place in (whole, second)]
    assert OVERLAP not in reports_of(whole)[0].metrics
    assert 0 < ends[0] < 1
    # The learning rate follows the number of steps, so that the two runs end near each other, not in one place.
    assert ends[0] == pytest.approx(ends[1], abs=0.2)


def test_a_checkpoint_without_a_probe_still_resumes_and_tells_no_overlap(tmp_path: Path, model_folder: Path) -> None:
    """As one made by a run whose first step had none."""
    job = a_job(tmp_path, model_folder, steps=2)
    main(a_place(tmp_path, job, batches=2))
    for path in (tmp_path / "checkpoints").glob("step-*/probe.safetensors"):
        forget(path)
    second = a_place(tmp_path, a_job(tmp_path, model_folder, steps=3), attempt=1)
    leave_batches(second, (3,))
    main(second)

    assert OVERLAP not in reports_of(second)[-1].metrics


def forget(path: Path) -> None:
    """Take a file out of its checkpoint, and seal what is left."""
    path.unlink()
    manifest = json.loads((path.parent / "manifest.json").read_bytes())
    del manifest["files"][path.name]
    sealed = json.dumps(manifest).encode()
    (path.parent / "manifest.json").write_bytes(sealed)
    (path.parent / "READY").write_text(hashlib.sha256(sealed).hexdigest())


def test_length_targets_of_the_coordinator_reward_the_step_and_are_told(tmp_path: Path, model_folder: Path) -> None:
    """No completion has more than 12 tokens, so that a target of 12 rewards all correct ones and a target of 1 next to
    none."""
    rewards = []
    for name, target in (("short", 1), ("long", 12)):
        folder = tmp_path / name
        job = a_job(folder, model_folder, steps=1, algorithm=LASER_D)
        place = a_place(folder, job)
        targets = {"easy": target, "medium": target, "hard": target}
        monitoring = Monitoring(
            step=0, length_targets=targets, num_prompts={}, accuracy=None, mean_tokens=None, num_errors=0
        )
        facts = replace(random_facts(1), state=CoordinatorState(monitoring=monitoring))
        write_renamed(place.attempt_folder / "batches" / "000001.facts", pack(facts))
        main(place)
        report = reports_of(place)[0]
        assert report.length_targets == targets
        assert report.metrics['rlvr_learner_length_target_tokens{difficulty="hard"}'] == target
        rewards.append(report.metrics["rlvr_learner_reward_mean"])

    assert rewards[1] > rewards[0] + 0.1


def test_frequent_tokens_of_high_entropy_are_named(tmp_path: Path, model_folder: Path) -> None:
    place = a_place(tmp_path, a_job(tmp_path, model_folder, steps=1))
    facts = random_facts(1, num_groups=12)
    write_renamed(place.attempt_folder / "batches" / "000001.facts", pack(facts))
    main(place)

    forks = reports_of(place)[0].forks
    assert len(forks) > 5 and all(fork.count >= 10 for fork in forks)
    assert [fork.entropy for fork in forks] == sorted((fork.entropy for fork in forks), reverse=True)
