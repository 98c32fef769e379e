"""Every prompt once: golden intervals, and laws over random histories."""

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.coordinator.ledger import fate_of, is_consumed, next_positions, num_positions, record
from rlvr_trainer.errors import TrainerError
from rlvr_trainer.samples import Fate, Interval, Ledger
from rlvr_trainer.wire import from_json, to_json

FATES = st.dictionaries(st.integers(0, 60), st.sampled_from(Fate), max_size=40)


def test_neighbours_of_one_fate_become_one_interval() -> None:
    ledger = record(Ledger(), {0: Fate.TRAINED, 2: Fate.FLAT, 1: Fate.TRAINED, 3: Fate.TRAINED})

    assert ledger.intervals == (
        Interval(start=0, end=2, fate=Fate.TRAINED),
        Interval(start=2, end=3, fate=Fate.FLAT),
        Interval(start=3, end=4, fate=Fate.TRAINED),
    )


def test_a_later_record_closes_a_gap() -> None:
    ledger = record(record(Ledger(), {0: Fate.TRAINED, 2: Fate.TRAINED}), {1: Fate.TRAINED})

    assert ledger.intervals == (Interval(start=0, end=3, fate=Fate.TRAINED),)


def test_a_second_fate_is_an_error() -> None:
    ledger = record(Ledger(), {4: Fate.TRAINED, 5: Fate.TRAINED})

    with pytest.raises(TrainerError, match="position 5 would be flat although it is trained already"):
        record(ledger, {5: Fate.FLAT})


def test_unused_positions_come_smallest_first() -> None:
    ledger = record(Ledger(), {0: Fate.TRAINED, 1: Fate.FLAT, 3: Fate.TRAINED})

    assert list(islice(next_positions(ledger), 4)) == [2, 4, 5, 6]
    assert list(islice(next_positions(Ledger()), 2)) == [0, 1]


@given(fates=FATES)
def test_a_ledger_remembers_exactly_what_was_recorded(fates: dict[int, Fate]) -> None:
    ledger = record(Ledger(), fates)

    assert {p: fate_of(ledger, p) for p in range(62) if is_consumed(ledger, p)} == fates
    assert {fate: num_positions(ledger, fate) for fate in Fate} == {
        fate: list(fates.values()).count(fate) for fate in Fate
    }


@given(fates=FATES, split=st.sets(st.integers(0, 60)))
def test_the_order_of_recording_does_not_matter(fates: dict[int, Fate], split: set[int]) -> None:
    first = {p: fate for p, fate in fates.items() if p in split}
    second = {p: fate for p, fate in fates.items() if p not in split}

    assert record(record(Ledger(), first), second) == record(record(Ledger(), second), first) == record(Ledger(), fates)


@given(fates=FATES)
def test_intervals_are_sorted_disjoint_and_merged(fates: dict[int, Fate]) -> None:
    intervals = record(Ledger(), fates).intervals

    for before, after in pairwise(intervals):
        assert before.end < after.start or (before.end == after.start and before.fate != after.fate)


@given(fates=FATES)
def test_next_positions_are_the_complement(fates: dict[int, Fate]) -> None:
    unused = list(islice(next_positions(record(Ledger(), fates)), 70))

    assert unused == [p for p in range(200) if p not in fates][:70]


@given(fates=FATES)
def test_a_ledger_survives_its_journey_through_a_checkpoint(fates: dict[int, Fate]) -> None:
    ledger = record(Ledger(), fates)

    assert from_json(to_json(ledger), Ledger) == ledger
