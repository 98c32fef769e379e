"""Ready means that what is known is complete and fresh; alive means that a restart would not help."""

from dataclasses import replace

from rlvr_operator.health import Vitals, count_phases, problems_of_life, problems_of_readiness, show
from rlvr_operator.metrics import TABLE, Board

WELL = Vitals(
    ages={"pods": 3.0, "rlvrjobs": 20.0},
    unsynced=frozenset(),
    server_age=1.0,
    is_leader=True,
    queued=2,
    jobs={"Running": 3, "Failed": 1},
)


def test_fresh_and_complete_is_ready_and_alive() -> None:
    assert problems_of_readiness(WELL, stale_after=75) == []
    assert problems_of_life(WELL, stale_after=75) == []


def test_an_incomplete_cache_is_not_ready() -> None:
    assert problems_of_readiness(replace(WELL, unsynced=frozenset({"pods"})), stale_after=75) == [
        "pods has not been listed yet"
    ]


def test_a_watch_that_is_silent_for_too_long_is_not_ready() -> None:
    stale = replace(WELL, ages={"pods": 76.0, "services": 75.0})

    assert problems_of_readiness(stale, stale_after=75) == ["pods was not heard for 76 s (limit 75)"]
    assert problems_of_life(stale, stale_after=75) == []


def test_only_a_restart_helps_a_watch_that_stays_silent_although_the_server_answers() -> None:
    stuck = replace(WELL, ages={"pods": 151.0})

    assert problems_of_life(stuck, stale_after=75) == ["pods was not heard for 151 s although the API server answers"]


def test_a_server_that_is_away_is_no_reason_to_be_restarted() -> None:
    away = replace(WELL, ages={"pods": 9999.0}, server_age=9999.0)

    assert problems_of_life(away, stale_after=75) == []
    assert problems_of_readiness(away, stale_after=75) != []


def test_gauges_show_what_is_and_forget_what_was() -> None:
    board = Board()
    show(WELL, board)
    show(replace(WELL, jobs={"Running": 4}), board)
    text = board.render().decode()

    assert 'rlvr_operator_jobs{phase="Running"} 4.0' in text
    assert "Failed" not in text
    assert 'rlvr_operator_watch_age_seconds{resource="rlvrjobs"} 20.0' in text
    assert "rlvr_operator_leader 1.0" in text


def test_a_job_that_was_not_looked_at_yet_counts_as_pending() -> None:
    assert count_phases(["Running", None, "Running"]) == {"Running": 2, "Pending": 1}


def test_metrics_are_named_by_the_rules() -> None:
    for row in TABLE:
        assert row.name.startswith("rlvr_operator_")
        assert (row.name.endswith("_total")) == (row.kind.__name__ == "Counter")
        assert row.description.endswith(".")
