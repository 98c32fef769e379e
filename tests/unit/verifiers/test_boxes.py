import time

import pytest

from rlvr_trainer.verifiers.boxes import last_box, marked_answer, told_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\boxed{72}", "72"),
        ("\\boxed{7}, no: \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ("\\fbox{7}", None),
        ("\\fboxed{7}", "7"),
        ("\\boxed {7}", "7"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{7} and \\boxed{8", "7"),
        ("\\boxed{", None),
        ("\\boxed 7", None),
        ("\\boxed{}", ""),
        ("7", None),
    ],
)
def test_the_last_closed_box_counts(text: str, answer: str | None) -> None:
    assert last_box(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Natalia sold 72.\n#### 72", "72"),
        ("#### 72  \n\n", "72"),
        ("\\boxed{7}\n#### 8", "7"),
        ("##### 7", None),
        ("#### Step 1\nso 7", None),
        ("so 7", None),
    ],
)
def test_hashes_mark_an_answer_on_the_last_line_only(text: str, answer: str | None) -> None:
    assert marked_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("The answer is 72.", "72"),
        ("The final answer is $\\frac{1}{2}$.", "\\frac{1}{2}"),
        ("**Answer:** 72", "72"),
        ("answer: \\(x+1\\)", "x+1"),
        ("The answer is 7.\nThe answer is 8", "8"),
        ("The result is 5 cm", "5 cm"),
        ("it is 72", None),
    ],
)
def test_an_answer_that_is_told_is_found(text: str, answer: str | None) -> None:
    assert told_answer(text) == answer


@pytest.mark.parametrize(
    "text", ["\\boxed{" * 100_000, "{" * 500_000, "answer " * 100_000, "\\boxed{" + "{}" * 200_000, "#### " * 100_000]
)
def test_looking_is_quick_whatever_the_text_is(text: str) -> None:
    began = time.process_time()
    marked_answer(text)
    told_answer(text)

    assert time.process_time() - began < 2.0
