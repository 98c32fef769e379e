import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.verifiers.code.outputs import first_difference, is_same


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("6\n", "6"),
        ("6  \n\n\n", "6\n"),
        ("1 2\n3", "1  2\n3\n"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("yes 2.0", "yes 2"),
        ("", "\n"),
    ],
)
def test_white_space_and_ways_of_writing_a_number_do_not_matter(printed: str, expected: str) -> None:
    assert is_same(printed, expected)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("7", "6"),
        ("6\n6", "6"),
        ("\n6", "6"),
        ("Yes", "yes"),
        ("0.3333333", "0.3333334"),
        ("nan", "0"),
        ("7" * 500, "7" * 500 + "0"),
        ("1 2", "12"),
    ],
)
def test_other_lines_words_and_values_do(printed: str, expected: str) -> None:
    assert not is_same(printed, expected)


@pytest.mark.parametrize(
    ("printed", "expected", "difference"),
    [
        ("1\n2\n3", "1\n5\n3", ("2", "5")),
        ("1", "1\n2", ("nothing", "2")),
        ("1\n2", "1", ("2", "nothing")),
        ("1", "1", ("", "")),
    ],
)
def test_the_first_difference_is_told(printed: str, expected: str, difference: tuple[str, str]) -> None:
    assert first_difference(printed, expected) == difference


@given(st.text(max_size=100), st.text(max_size=100))
def test_there_is_a_first_difference_exactly_when_it_is_not_the_same(printed: str, expected: str) -> None:
    assert is_same(printed, printed)
    assert is_same(printed, expected) == (first_difference(printed, expected) == ("", ""))
