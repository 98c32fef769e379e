"""Plain values cross the boundary as themselves; nothing else does."""

import json
from collections import Counter, OrderedDict
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.jail.values import decode, encode

HASHABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3),
    max_leaves=6,
)
VALUES = st.recursive(
    HASHABLE | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(HASHABLE, inner, max_size=3) | st.sets(HASHABLE, max_size=3)
    ),
    max_leaves=10,
)


def travelled(value: Any) -> Any:
    """`value` as the other side has it; an object becomes the name of its type."""
    return decode(json.loads(json.dumps(encode(value, lambda _: 7))), lambda number, name: (number, name))


@given(VALUES)
def test_plain_values_arrive_equal_and_of_the_same_type(value: Any) -> None:
    found = travelled(value)

    assert found == value
    assert type(found) is type(value)


class Liar(int):
    def __eq__(self, _: object) -> bool:
        return True

    __hash__ = int.__hash__


def test_what_claims_to_be_equal_to_everything_arrives_as_what_it_is_made_of() -> None:
    found = travelled(Liar(3))

    assert type(found) is int
    assert found == 3
    assert found != 4


def test_relatives_of_plain_types_arrive_plain() -> None:
    class Point(NamedTuple):
        x: int
        y: int

    assert travelled(Counter("aab")) == {"a": 2, "b": 1}
    assert type(travelled(OrderedDict(a=1))) is dict
    assert travelled(Point(1, 2)) == (1, 2)
    assert travelled(bytearray(b"x")) == b"x"


def test_anything_else_stays_and_is_known_by_number_and_type() -> None:
    assert travelled(object()) == (7, "object")
    assert travelled([print, iter([])]) == [(7, "builtin_function_or_method"), (7, "list_iterator")]


def test_integers_may_have_any_length() -> None:
    assert travelled(10**10_000) == 10**10_000


def test_a_value_that_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)

    with pytest.raises(RecursionError):
        encode(value, lambda _: 0)


@pytest.mark.parametrize(
    "data",
    [{}, {"i": "1", "f": "0x1"}, {"x": 1}, {"i": 3}, {"i": "zz"}, {"b": "0"}, {"d": [[1]]}, {"s": [[]]}, {"h": []}],
)
def test_what_is_no_value_is_refused(data: Any) -> None:
    with pytest.raises((ValueError, IndexError)):
        decode(data, lambda number, name: (number, name))
