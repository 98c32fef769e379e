r"""Answers without their dress: \text, units, percentages, separators, intervals, lists, words."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlvr_trainer.verifiers.answers import LONGEST, hedges, is_tame, is_words, number, same, undressed


@pytest.mark.parametrize(
    ("answer", "plain"),
    [
        ("5\\text{ cm}", "5"),
        ("\\left( \\dfrac12,\\ \\$3 \\right)", "( \\frac{1}{2}, 3 )"),
        ("\\frac1{10}", "\\frac{1}{10}"),
        ("\\frac{1}2", "\\frac{1}{2}"),
        ("1{,}000.00", "1000.00"),
        ("11,111,111,100", "11111111100"),
        ("\\$18", "18"),
        ("90^\\circ", "90"),
        ("x=5", "5"),
        ("x \\in [2,5)", "[2,5)"),
        ("72 dollars", "72"),
        ("10 cm^2", "10"),
        ("12\\text{ square units}", "12"),
        ("\\sqrt2", "\\sqrt{2}"),
        ("\u22125", "-5"),
        ("50\\%", "50%"),
        ("\\text{Evelyn}", "Evelyn"),
        ("p - q", "p - q"),
        ("3 \\sqrt{13}", "3 \\sqrt{13}"),
        ("2 pi", "2 pi"),
    ],
)
def test_an_answer_is_written_plainly(answer: str, plain: str) -> None:
    assert undressed(answer).replace(" ", "") == plain.replace(" ", "")


SAME = [
    ("5", "5\\text{ cm}"),
    ("0.5", "\\frac{1}{2}"),
    ("\\frac{2}{4}", "1/2"),
    ("3\\frac12", "3.5"),
    ("3 1/2", "\\frac{7}{2}"),
    ("-1\\frac{1}{2}", "-1.5"),
    ("1000", "1,000"),
    ("1{,}000", "1000.0"),
    ("50\\%", "0.5"),
    ("50%", "50"),
    ("50 percent", "50\\%"),
    ("x = 5", "5"),
    ("[2, 5)", "\\left[2,5\\right)"),
    ("(-\\infty,3]\\cup[5,\\infty)", "[5, \\infty) \\cup (-\\infty, 3]"),
    ("\\{1, 2\\}", "\\{2,1\\}"),
    ("1, -2", "-2,1"),
    ("3, 5 and 7", "3,5,7"),
    ("(C)", "\\text{C}"),
    ("\\textbf{(C)}", "C"),
    ("evelyn", "\\text{Evelyn}"),
    ("(3, 0.5)", "\\left(3,\\dfrac12\\right)"),
    ("18 apples", "18"),
]


@pytest.mark.parametrize(("found", "reference"), SAME)
def test_the_same_in_another_dress_is_the_same_both_ways(found: str, reference: str) -> None:
    assert same(found, reference) is True
    assert same(reference, found) is True


@pytest.mark.parametrize(
    ("found", "reference"),
    [
        ("5", "6"),
        ("0.33", "0.3"),
        ("1.000", "1,000"),
        ("51\\%", "0.5"),
        ("(C)", "D"),
        ("Evelyn", "\\text{Bob}"),
        ("[2,5)", "[2,6)"),
        ("(1,2)", "(2,1)"),
    ],
)
def test_what_is_surely_different_is_different(found: str, reference: str) -> None:
    assert same(found, reference) is False
    assert same(reference, found) is False


@pytest.mark.parametrize(
    ("found", "reference"),
    [
        ("x+1", "1+x"),
        ("[2,5)", "[2,5]"),
        ("0.333", "1/3"),
        ("\\sqrt{4}", "2"),
        ("", ""),
        ("1,2", "1,3"),
        ("7" * (LONGEST + 1), "7"),
    ],
)
def test_where_only_algebra_can_tell_nothing_is_said(found: str, reference: str) -> None:
    assert same(found, reference) is None


def test_lists_and_units_are_compared_leniently_as_the_module_says() -> None:
    assert same("5 m", "5 cm") is True
    assert same("2,1", "1,2") is True


@pytest.mark.parametrize(
    "found",
    [
        "71 or 72",
        "72 \\text{ or } 71",
        "x=71 \\lor x=72",
        "72 \\vee 71",
        "72 (or 71)",
        "72 dollars or 7200 cents",
        "1 or 2 or 72",
    ],
)
def test_several_numbers_to_choose_from_are_a_hedge_where_one_is_wanted(found: str) -> None:
    assert hedges(found, "72")
    assert hedges(found, "\\frac{1}{2}")
    assert not hedges(found, "71, 72")
    assert not hedges(found, "x+1")


@pytest.mark.parametrize(
    "found", ["72", "72, or seventy-two", "72 or 72.0", "\\text{Taylor}", "4 or fewer", "x \\oplus 3"]
)
def test_one_number_is_no_hedge(found: str) -> None:
    assert not hedges(found, "72")


def test_words_are_told_from_mathematics() -> None:
    assert is_words("\\text{Evelyn}")
    assert is_words("east")
    assert not is_words("x")
    assert not is_words("2 dollars")
    assert not is_words("p - 2q")


def test_tame_is_short_and_shallow() -> None:
    assert is_tame("(" * 20 + ")" * 20)
    assert not is_tame("(" * 21 + ")" * 21)
    assert is_tame("7" * LONGEST)
    assert not is_tame("7" * (LONGEST + 1))


@pytest.mark.parametrize(
    ("plain", "value"),
    [
        ("-7", Fraction(-7)),
        (".5", Fraction(1, 2)),
        ("-\\frac{3}{4}", Fraction(-3, 4)),
        ("-3/4", Fraction(-3, 4)),
        ("2\\frac{1}{4}", Fraction(9, 4)),
        ("1/0", None),
        ("1.2.3/4", None),
        ("x", None),
        ("7" * 401, None),
    ],
)
def test_numbers_are_values(plain: str, value: Fraction | None) -> None:
    assert number(plain) == value


@given(st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=1000))
def test_every_fraction_is_itself_in_both_ways_of_writing(value: Fraction) -> None:
    sign, above, below = "-" * (value < 0), abs(value.numerator), value.denominator

    assert number(f"{sign}\\frac{{{above}}}{{{below}}}") == value
    assert same(f"{sign}{above}/{below}", f"{sign}\\dfrac{{{above}}}{{{below}}}") is True


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_text_breaks_the_comparison_and_it_is_symmetric_about_yes(one: str, other: str) -> None:
    assert (same(one, other) is True) == (same(other, one) is True)
    assert same(one, one) is not False
