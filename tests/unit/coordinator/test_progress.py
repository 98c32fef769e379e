"""What people are told; an unknown is absent."""

import json
from pathlib import Path
from typing import Any

from builders import an_evaluation
from rlvr_api import CheckpointProgress
from rlvr_trainer.coordinator.exchange import Policy
from rlvr_trainer.coordinator.progress import Known, progress_of, result_of, write_result
from rlvr_trainer.samples import CoordinatorState, Fate, Ledger, Monitoring, StepReport

POLICY = Policy(step=4, label="4-aaaaaaaaaaaa")
LEDGER = Ledger(watermark=11, counts={Fate.TRAINED: 8, Fate.FLAT: 3})


def known(**changes: Any) -> Known:
    defaults: dict[str, Any] = {
        "attempt": 1,
        "total_steps": 10,
        "closed_steps": 5,
        "prompts_per_step": 8,
        "policy": POLICY,
        "report": None,
        "state": CoordinatorState(ledger=LEDGER, generated_tokens=500, wall_seconds=50.0),
        "tokens_per_second": None,
        "num_waiting": 0,
        "num_rollouts_ready": 1,
        "activity": None,
        "checkpoint": CheckpointProgress(),
        "now": 1000.0,
    }
    return Known(**{**defaults, **changes})


def test_what_nobody_knows_is_absent() -> None:
    said = json.loads(progress_of(known()).model_dump_json(by_alias=True, exclude_none=True))

    assert said.keys().isdisjoint({"reward", "accuracy", "evalAccuracy", "entropy", "tokensPerSecond"})
    assert (said["step"], said["generatedTokens"], said["droppedGroups"]) == (4, 500, {"flat": 3})


def test_the_newest_report_and_evaluation_are_told() -> None:
    report = StepReport(
        step=4,
        metrics={"rlvr_learner_reward_mean": 0.5, "rlvr_learner_entropy_nats": 0.1},
        trained=((0, 8),),
        finished_at=0.0,
    )
    state = CoordinatorState(evaluations=(an_evaluation(0), an_evaluation(4, accuracy=0.75)))

    progress = progress_of(known(report=report, state=state))

    assert (progress.reward, progress.entropy, progress.accuracy) == (0.5, 0.1, None)
    assert (progress.eval_accuracy, progress.eval_step) == (0.75, 4)


def test_length_targets_are_told_where_there_are_any() -> None:
    monitoring = Monitoring(
        step=0,
        length_targets={"hard": 64, "easy": 16},
        num_prompts={"hard": 1, "easy": 1},
        accuracy=0.5,
        mean_tokens=9.0,
        num_errors=0,
    )

    assert progress_of(known()).length_targets == {}
    assert progress_of(known(state=CoordinatorState(monitoring=monitoring))).length_targets == {"hard": 64, "easy": 16}


def test_the_time_left_follows_the_mean_pace_and_is_unknown_before_the_first_batch() -> None:
    assert progress_of(known()).eta_seconds == 6 * 50.0 / 5
    assert progress_of(known(closed_steps=0)).eta_seconds is None


def test_the_activity_names_who_is_waited_for() -> None:
    said = [
        progress_of(known(**changes)).activity
        for changes in (
            {"activity": "evaluating policy 4-aaaaaaaaaaaa"},
            {"num_rollouts_ready": 0},
            {},
            {"closed_steps": 4, "num_waiting": 3},
            {"policy": Policy(step=10, label="10-aaaaaaaaaaaa"), "closed_steps": 10},
        )
    ]

    assert said == [
        "evaluating policy 4-aaaaaaaaaaaa",
        "waiting for a rollout with policy 4-aaaaaaaaaaaa",
        "training step 5",
        "gathering step 5: 3 of 8 groups",
        "done",
    ]


def test_a_result_has_the_accuracy_before_and_after(tmp_path: Path) -> None:
    evaluations = (an_evaluation(0, accuracy=0.25), an_evaluation(4, accuracy=0.75))
    state = CoordinatorState(ledger=LEDGER, evaluations=evaluations, generated_tokens=500)

    write_result(result_of(state, policy=POLICY, wall_seconds=60.0), folder=tmp_path)

    result = json.loads((tmp_path / "result.json").read_text())
    evaluations = result.pop("evaluations")
    assert result == {
        "steps": 4,
        "evalAccuracyBefore": 0.25,
        "evalAccuracyAfter": 0.75,
        "tokens": 500,
        "wallSeconds": 60.0,
        "trained": 8,
        "dropped": {"flat": 3},
        "policy": "4-aaaaaaaaaaaa",
    }
    assert [evaluation["numCompletions"] for evaluation in evaluations] == [8, 8]


def test_without_held_out_prompts_accuracy_is_unknown() -> None:
    result = result_of(CoordinatorState(), policy=POLICY, wall_seconds=1.0)

    assert (result.eval_accuracy_before, result.eval_accuracy_after) == (None, None)
