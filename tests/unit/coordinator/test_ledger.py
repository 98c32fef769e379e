"""Every prompt once: golden ledgers, laws over random histories, and a size that does not grow with the job."""

import random
from itertools import islice, takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.coordinator.ledger import is_consumed, next_positions, num_positions, record
from rlvr_trainer.errors import TrainerError
from rlvr_trainer.samples import Fate, Ledger
from rlvr_trainer.wire import from_json, to_json

FATES = st.dictionaries(st.integers(0, 60), st.sampled_from(Fate), max_size=40)


def test_positions_in_order_are_a_watermark_and_counts() -> None:
    ledger = record(Ledger(), {0: Fate.TRAINED, 2: Fate.FLAT, 1: Fate.TRAINED, 3: Fate.TRAINED})

    assert ledger == Ledger(watermark=4, beyond=(), counts={Fate.TRAINED: 3, Fate.FLAT: 1})


def test_a_later_record_closes_a_gap() -> None:
    ahead = record(Ledger(), {0: Fate.TRAINED, 2: Fate.TRAINED, 5: Fate.ERROR})

    assert (ahead.watermark, ahead.beyond) == (1, (2, 5))
    assert record(ahead, {1: Fate.FLAT}) == Ledger(
        watermark=3, beyond=(5,), counts={Fate.TRAINED: 2, Fate.FLAT: 1, Fate.ERROR: 1}
    )


@pytest.mark.parametrize("position", [0, 3, 7])
@pytest.mark.parametrize("fate", Fate)
def test_a_position_is_used_up_once_and_for_ever(position: int, fate: Fate) -> None:
    ledger = record(Ledger(), {0: Fate.TRAINED, 1: Fate.FLAT, 2: Fate.TRAINED, 3: Fate.TRAINED, 7: Fate.TRAINED})

    with pytest.raises(TrainerError, match=f"position {position} would be {fate} although it is used up already"):
        record(ledger, {position: fate})


def test_unused_positions_come_smallest_first() -> None:
    ledger = record(Ledger(), {0: Fate.TRAINED, 1: Fate.FLAT, 3: Fate.TRAINED})

    assert list(islice(next_positions(ledger), 4)) == [2, 4, 5, 6]
    assert list(islice(next_positions(Ledger()), 2)) == [0, 1]


@given(fates=FATES)
def test_a_ledger_remembers_exactly_what_was_recorded(fates: dict[int, Fate]) -> None:
    ledger = record(Ledger(), fates)

    assert {p for p in range(62) if is_consumed(ledger, p)} == set(fates)
    assert {fate: num_positions(ledger, fate) for fate in Fate} == {
        fate: list(fates.values()).count(fate) for fate in Fate
    }


@given(fates=FATES, split=st.sets(st.integers(0, 60)))
def test_the_order_of_recording_does_not_matter(fates: dict[int, Fate], split: set[int]) -> None:
    first = {p: fate for p, fate in fates.items() if p in split}
    second = {p: fate for p, fate in fates.items() if p not in split}

    assert record(record(Ledger(), first), second) == record(record(Ledger(), second), first) == record(Ledger(), fates)


@given(fates=FATES, again=st.integers(0, 60), fate=st.sampled_from(Fate))
def test_a_second_fate_is_refused_and_a_first_one_is_not(fates: dict[int, Fate], again: int, fate: Fate) -> None:
    ledger = record(Ledger(), fates)

    if again in fates:
        with pytest.raises(TrainerError):
            record(ledger, {again: fate})
    else:
        assert is_consumed(record(ledger, {again: fate}), again)


@given(fates=FATES)
def test_the_watermark_is_the_first_unused_position_and_the_rest_lies_beyond(fates: dict[int, Fate]) -> None:
    ledger = record(Ledger(), fates)

    assert ledger.watermark == next(next_positions(ledger)) not in fates
    assert list(ledger.beyond) == sorted(p for p in fates if p > ledger.watermark)


@given(fates=FATES)
def test_next_positions_are_the_complement(fates: dict[int, Fate]) -> None:
    unused = list(islice(next_positions(record(Ledger(), fates)), 70))

    assert unused == [p for p in range(200) if p not in fates][:70]


@given(fates=FATES)
def test_a_ledger_survives_its_journey_through_a_checkpoint(fates: dict[int, Fate]) -> None:
    ledger = record(Ledger(), fates)

    assert from_json(to_json(ledger), Ledger) == ledger


def test_a_million_positions_take_no_more_room_than_what_was_in_flight() -> None:
    in_flight, chance, ledger, sizes, most_beyond = 1000, random.Random(0), Ledger(), [], 0
    while ledger.watermark < 10**6:
        end = ledger.watermark + in_flight
        asked = list(takewhile(lambda position: position < end, next_positions(ledger)))  # noqa: B023 - used at once
        done = chance.sample(asked, k=(len(asked) + 1) // 2)
        ledger = record(ledger, dict(zip(done, chance.choices(list(Fate), k=len(done)), strict=True)))
        most_beyond = max(most_beyond, len(ledger.beyond))
        sizes.append(len(to_json(ledger)))

    assert 0 < most_beyond < in_flight
    assert sum(ledger.counts.values()) == ledger.watermark + len(ledger.beyond) >= 10**6
    assert max(sizes) < 150 + 8 * in_flight


def test_positions_in_order_take_a_hundred_bytes() -> None:
    ledger = Ledger(watermark=999_990, counts={Fate.FLAT: 333_333, Fate.TRAINED: 666_657})

    grown = record(ledger, dict.fromkeys(range(999_990, 1_000_000), Fate.ERROR))

    assert to_json(grown) == b'{"watermark":1000000,"beyond":[],"counts":{"trained":666657,"flat":333333,"error":10}}'
