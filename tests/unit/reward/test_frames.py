import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.errors import CorruptArtifact
from rlvr_trainer.reward.frames import Deframer, Item, Ready, frame, read_item
from rlvr_trainer.samples import Finish, Task


def test_a_message_is_its_length_and_msgpack() -> None:
    assert frame(Ready(problem="no")) == b"\x00\x00\x00\x0c" + b"\x81\xa7problem\xa2no"


@given(st.lists(st.text(), max_size=5), st.integers(min_value=1, max_value=50))
def test_items_survive_any_fragmentation(texts: list[str], step: int) -> None:
    items = [Item(id=str(i), text=text, finish=Finish.STOP, task=Task(answer="7")) for i, text in enumerate(texts)]
    stream, deframer = b"".join(map(frame, items)), Deframer()

    received = [
        read_item(message)
        for start in range(0, len(stream), step)
        for message in deframer.feed(stream[start : start + step])
    ]

    assert received == items


def test_a_stream_of_something_else_is_noticed() -> None:
    with pytest.raises(CorruptArtifact, match="longest"):
        Deframer().feed(b"\xff" * 8)
    with pytest.raises(CorruptArtifact):
        read_item(Deframer().feed(struct.pack(">I", 1) + b"\x01")[0])
