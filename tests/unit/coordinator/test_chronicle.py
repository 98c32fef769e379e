"""What the metrics are told about groups and length targets."""

import pytest

from builders import a_scored_group, an_evaluation
from rlvr_trainer.coordinator.chronicle import Chronicle, solved
from rlvr_trainer.coordinator.exchange import Policy, Resume
from rlvr_trainer.coordinator.produce import Produced
from rlvr_trainer.metrics import Board
from rlvr_trainer.samples import CoordinatorState, Fate, Monitoring, Outcome

C, W, E = Outcome.CORRECT, Outcome.WRONG, Outcome.ERROR


def a_chronicle(board: Board, state: CoordinatorState | None = None) -> Chronicle:
    resume = Resume(step=0, state=state or CoordinatorState())
    return Chronicle(resume, policy=Policy(step=0, label="0-aaaaaaaaaaaa"), board=board)


def a_monitoring(*, step: int, easy: int) -> Monitoring:
    targets = {"hard": 64, "medium": 32, "easy": easy}
    return Monitoring(
        step=step,
        length_targets=targets,
        num_prompts={"hard": 1, "medium": 2, "easy": 3},
        accuracy=0.5,
        mean_tokens=20.0,
        num_errors=0,
    )


def value_of(board: Board, sample: str) -> float | None:
    """What Prometheus would read; None where there is no such sample."""
    found = [line for line in board.render().decode().splitlines() if line.startswith(f"{sample} ")]
    return float(found[0].rpartition(" ")[2]) if found else None


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [((C, C), "all"), ((W, W), "none"), ((C, W), "some"), ((C, E), "all"), ((W, E), "none"), ((E, E), "unknown")],
)
def test_a_group_is_solved_by_what_could_be_judged(outcomes: tuple[Outcome, ...], expected: str) -> None:
    assert solved(a_scored_group(outcomes=outcomes)) == expected


def test_groups_are_counted_by_fate_and_by_how_much_of_them_is_right() -> None:
    board = Board()
    groups = [
        ((C, W), Fate.TRAINED),
        ((C, C), Fate.FLAT),
        ((W, W), Fate.FLAT),
        ((W, W), Fate.FLAT),
        ((E, E), Fate.ERROR),
    ]
    produced = [
        Produced(scored=a_scored_group(number, outcomes=outcomes), fate=fate)
        for number, (outcomes, fate) in enumerate(groups)
    ]

    a_chronicle(board).close(1, produced)

    counts = {
        (fate, how): value_of(board, f'rlvr_coordinator_solved_groups_total{{fate="{fate}",solved="{how}"}}')
        for fate, how in (("flat", "none"), ("flat", "all"), ("trained", "some"), ("error", "unknown"))
    }
    assert counts == {("flat", "none"): 2, ("flat", "all"): 1, ("trained", "some"): 1, ("error", "unknown"): 1}
    ratios = "rlvr_coordinator_group_accuracy_ratio"
    assert value_of(board, f'{ratios}_bucket{{fate="flat",le="0.0"}}') == 2
    assert value_of(board, f'{ratios}_bucket{{fate="flat",le="0.875"}}') == 2
    assert value_of(board, f'{ratios}_bucket{{fate="flat",le="1.0"}}') == 3
    assert value_of(board, f'{ratios}_bucket{{fate="trained",le="0.375"}}') == 0
    assert value_of(board, f'{ratios}_count{{fate="error"}}') is None


def test_new_length_targets_belong_to_the_next_batch_and_are_shown() -> None:
    board = Board()
    chronicle = a_chronicle(board)
    before = chronicle.close(1, [Produced(scored=a_scored_group(0), fate=Fate.TRAINED)])

    chronicle.monitored(a_monitoring(step=1, easy=16))
    after = chronicle.close(2, [Produced(scored=a_scored_group(1), fate=Fate.TRAINED)])

    assert (before.state.length_targets, after.state.length_targets) == ({}, {"hard": 64, "medium": 32, "easy": 16})
    assert chronicle.monitored_step == 1
    assert value_of(board, 'rlvr_coordinator_length_target_tokens{difficulty="easy"}') == 16
    assert value_of(board, 'rlvr_coordinator_monitor_prompts{difficulty="medium"}') == 2


def test_a_resumed_run_shows_the_targets_that_it_goes_on_with() -> None:
    board = Board()

    chronicle = a_chronicle(board, CoordinatorState(monitoring=a_monitoring(step=20, easy=24)))

    assert chronicle.monitored_step == 20
    assert value_of(board, 'rlvr_coordinator_length_target_tokens{difficulty="easy"}') == 24


def test_an_evaluation_with_several_completions_shows_pass_at_k() -> None:
    board = Board()

    a_chronicle(board).evaluated(an_evaluation(pass_at={2: 0.5, 8: 0.75}))

    shown = {k: value_of(board, f'rlvr_coordinator_evaluation_pass_ratio{{k="{k}"}}') for k in (2, 4, 8)}
    assert shown == {2: 0.5, 4: None, 8: 0.75}
