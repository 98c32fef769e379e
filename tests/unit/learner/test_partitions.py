from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.learner.backends.partitions import equal_part


@given(num_elements=st.integers(1, 200), size=st.integers(1, 16))
def test_stage_3_deals_every_element_of_a_weight_to_one_rank(num_elements: int, size: int) -> None:
    part = -(-num_elements // size)
    places = [equal_part(num_elements, part, rank=rank) for rank in range(size)]

    covered = [index for place in places if place for index in range(place[0], place[0] + place[1])]
    assert covered == list(range(num_elements))
