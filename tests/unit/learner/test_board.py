"""Keys of a report and the gauges they set."""

import pytest

from rlvr_trainer.metrics import Board, labelled, parse_key

BY_CLASS = "rlvr_learner_clipped_by_class_ratio"


def shown(board: Board) -> dict[str, float]:
    lines = [line for line in board.render().decode().splitlines() if not line.startswith("#")]
    return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines)}


@pytest.mark.parametrize("labels", [{}, {"phase": "wait"}, {"class": "high", "bound": "lower"}])
def test_a_key_can_be_taken_apart_again(labels: dict[str, str]) -> None:
    key = labelled("rlvr_learner_loss", **labels) if labels else "rlvr_learner_loss"

    assert parse_key(key) == ("rlvr_learner_loss", labels)


def test_a_labelled_key_is_what_prometheus_prints() -> None:
    key, board = labelled(BY_CLASS, bound="lower", **{"class": "high"}), Board()
    board.renew({key: 0.5})

    assert key == BY_CLASS + '{bound="lower",class="high"}'
    assert shown(board) == {key: 0.5}


def test_a_gauge_without_a_newer_value_disappears() -> None:
    board = Board()
    high, low = (labelled(BY_CLASS, bound="dual", **{"class": name}) for name in ("high", "low"))
    board.set("rlvr_checkpoint_step", 4)
    board.renew({"rlvr_learner_loss": 1.0, "rlvr_learner_step": 1.0, high: 0.1, low: 0.2})
    board.renew({"rlvr_learner_step": 2.0, low: 0.3})

    assert shown(board) == {"rlvr_checkpoint_step": 4, "rlvr_learner_step": 2, low: 0.3}


def test_and_comes_back_with_one() -> None:
    board = Board()
    for values in ({"rlvr_learner_loss": 1.0}, {}, {"rlvr_learner_loss": 3.0}):
        board.renew(values)

    assert shown(board) == {"rlvr_learner_loss": 3.0}


def test_a_name_that_is_in_no_table_is_refused() -> None:
    with pytest.raises(KeyError, match="rlvr_learner_mood"):
        Board().renew({"rlvr_learner_mood": 1.0})


def test_an_own_counter_without_labels_is_there_before_it_counts() -> None:
    """Prometheus sees an increase from zero, not a series that begins at one."""
    board = Board("rlvr_rollout_", "rlvr_engine_")

    assert shown(board)["rlvr_rollout_policy_errors_total"] == 0
    assert shown(board)["rlvr_engine_generated_tokens_total"] == 0
    assert not any(name.startswith(("rlvr_learner", "rlvr_reward", "rlvr_coordinator")) for name in shown(board))


def test_counters_with_labels_and_gauges_wait_for_their_first_value() -> None:
    assert all(key.endswith(("_total", "_created")) and "{" not in key for key in shown(Board("rlvr_reward_")))
