from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.learner.reporting import merged


def test_neighbouring_positions_become_one_span() -> None:
    assert merged([7, 3, 4, 5, 9]) == ((3, 6), (7, 8), (9, 10))


@given(st.sets(st.integers(0, 60)))
def test_spans_hold_the_positions_and_no_other(positions: set[int]) -> None:
    spans = merged(positions)

    assert {position for start, end in spans for position in range(start, end)} == positions
    assert all(end < start for (_, end), (start, _) in pairwise(spans))
