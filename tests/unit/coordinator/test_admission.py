"""Who may be asked, which groups count, what closes a batch."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import a_scored_group
from rlvr_trainer.coordinator.admission import Limits, close_batch, fate, room
from rlvr_trainer.samples import Fate, Outcome

C, W, E, M, T = Outcome.CORRECT, Outcome.WRONG, Outcome.ERROR, Outcome.MALFORMED, Outcome.TRUNCATED
TRAINED, FLAT, ERROR = Fate.TRAINED, Fate.FLAT, Fate.ERROR


def limits(*, steps: int = 10, prompts: int = 4, staleness: int = 0) -> Limits:
    return Limits(steps=steps, prompts_per_step=prompts, max_staleness=staleness, drops_flat=True)


@pytest.mark.parametrize(
    ("version", "staleness", "accepted", "in_flight", "expected"),
    [
        (0, 0, 0, 0, 4),  # a fresh start asks for one batch
        (0, 0, 3, 1, 0),  # the batch is on its way
        (0, 0, 3, 0, 1),  # one group was flat
        (0, 0, 4, 0, 0),  # handed over, not trained yet: wait
        (1, 0, 4, 0, 4),  # trained
        (0, 2, 4, 0, 8),  # two steps ahead are allowed
        (9, 2, 40, 0, 0),  # the last step needs nothing more
        (8, 2, 36, 1, 3),  # never beyond the last step
    ],
)
def test_how_many_prompts_may_be_asked_for(
    version: int, staleness: int, accepted: int, in_flight: int, expected: int
) -> None:
    assert room(limits(staleness=staleness), version=version, accepted=accepted, in_flight=in_flight) == expected


@given(st.integers(0, 20), st.integers(0, 4), st.integers(0, 100), st.integers(0, 100))
def test_room_never_lets_more_in_than_the_bound(version: int, staleness: int, accepted: int, in_flight: int) -> None:
    free = room(limits(staleness=staleness), version=version, accepted=accepted, in_flight=in_flight)

    assert free == 0 or accepted + in_flight + free <= (version + 1 + staleness) * 4
    assert free == 0 or accepted + in_flight + free <= 10 * 4


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ((C, W), TRAINED),
        ((C, C), FLAT),
        ((W, M, T), FLAT),  # flat by accuracy, whatever the reasons
        ((C, W, E), ERROR),
        ((C, C, E), ERROR),
    ],
)
def test_the_fate_of_a_group(outcomes: tuple[Outcome, ...], expected: Fate) -> None:
    assert fate(a_scored_group(outcomes=outcomes), drops_flat=True) is expected


def test_flat_groups_count_without_dynamic_sampling() -> None:
    assert fate(a_scored_group(outcomes=(C, C)), drops_flat=False) is TRAINED


def test_a_batch_is_the_shortest_run_with_enough_groups_that_count() -> None:
    fates = {3: FLAT, 4: TRAINED, 5: ERROR, 6: TRAINED, 7: TRAINED}

    assert close_batch([3, 4, 5, 6, 7], fates, size=2) == (3, 4, 5, 6)
    assert close_batch([3, 4, 5, 6, 7], fates, size=4) is None


def test_a_batch_waits_for_the_group_that_comes_first() -> None:
    assert close_batch([3, 4, 5], {4: TRAINED, 5: TRAINED}, size=2) is None


@given(st.lists(st.sampled_from(Fate), max_size=30), st.integers(1, 5), st.sets(st.integers(0, 29)))
def test_a_closed_batch_does_not_depend_on_what_else_has_arrived(
    fates: list[Fate], size: int, missing: set[int]
) -> None:
    everything = dict(enumerate(fates))
    some = {position: found for position, found in everything.items() if position not in missing}

    whole = close_batch(range(len(fates)), everything, size=size)

    assert close_batch(range(len(fates)), some, size=size) in (None, whole)
