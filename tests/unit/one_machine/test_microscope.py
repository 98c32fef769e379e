"""What the report shows of single tokens."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from builders import a_job
from one_machine_builders import a_report
from rlvr_api import ModelSpec
from rlvr_trainer.one_machine.report.closeup import CloseUp, Word, Words, forking_words, read_closeup
from rlvr_trainer.one_machine.report.history import Record
from rlvr_trainer.one_machine.report.microscope import (
    LEVELS,
    MAX_TOKENS,
    Slide,
    Specimen,
    level,
    read_slides,
    texts,
    views,
)
from rlvr_trainer.one_machine.report.page import Heading, render_page
from rlvr_trainer.samples import Fork
from rlvr_trainer.wire import from_json

ARITHMETIC = ModelSpec(builtin="arithmetic")
NOTHING = Record(step=2, reports=(), evaluations=(), groups={}, tokens=0, wall_seconds=0.0)
COMPLETE = Heading(ending="complete", reason="", finished_at=0.0)


def a_token(id_: int = 4, **facts: Any) -> dict[str, Any]:
    known = {"entropy": 0.4, "selected": True, "clipped": False, "probability": 0.5, "advantage": 0.87, "k3": 0.001}
    return {"id": id_, **known, **facts}


def an_answer(*tokens: dict[str, Any], question: str = "1+1=") -> dict[str, Any]:
    return {"question": question, "outcome": "correct", "reward": 1.0, "advantage": 0.87, "tokens": list(tokens)}


def a_slide(step: int, *answers: dict[str, Any]) -> dict[str, Any]:
    return {"step": step, "answers": list(answers)}


def leave(folder: Path, *slides: dict[str, Any]) -> None:
    (folder / "microscope").mkdir(parents=True, exist_ok=True)
    for slide in slides:
        (folder / "microscope" / f"step-{slide['step']:06d}.json").write_text(json.dumps(slide))


def parsed(slide: dict[str, Any]) -> Slide:
    return from_json(json.dumps(slide).encode(), Slide)


def letters(ids: Any) -> str:
    return "".join(chr(96 + number) for number in ids)


def bytes_of_characters(ids: Any) -> str:
    return bytes(ids).decode(errors="replace")


def test_the_first_and_the_last_step_are_shown(tmp_path: Path) -> None:
    leave(tmp_path, *(a_slide(step, an_answer(a_token())) for step in (1, 7, 60)))

    assert [slide.step for slide in read_slides(tmp_path)] == [1, 60]


def test_one_step_is_shown_once_and_none_not_at_all(tmp_path: Path) -> None:
    assert read_slides(tmp_path) == ()

    leave(tmp_path, a_slide(1, an_answer(a_token())))

    assert [slide.step for slide in read_slides(tmp_path)] == [1]


def test_a_later_attempt_s_account_of_a_step_replaces_an_earlier_one(tmp_path: Path) -> None:
    leave(tmp_path / "attempts" / "a000", a_slide(3, an_answer(a_token(), question="earlier")))
    leave(tmp_path / "attempts" / "a001", a_slide(3, an_answer(a_token(), question="later")))

    (slide,) = read_slides(tmp_path)

    assert slide.answers[0].question == "later"


def test_a_broken_file_is_left_out(tmp_path: Path) -> None:
    leave(tmp_path, a_slide(1, an_answer(a_token())), a_slide(2))
    (tmp_path / "microscope" / "step-000002.json").write_text('{"step": 2')

    assert [slide.step for slide in read_slides(tmp_path)] == [1]


@pytest.mark.parametrize(("entropy", "shade"), [(0.0, 0), (0.0099, 0), (0.01, 1), (0.671, 3), (0.672, 4), (9.0, 6)])
def test_a_deeper_color_begins_exactly_at_its_edge(entropy: float, shade: int) -> None:
    assert level(entropy) == shade
    assert level(max(LEVELS)) == len(LEVELS)


def test_a_token_s_text_is_what_it_adds_to_the_tokens_before_it() -> None:
    assert list(texts([1, 2, 3], letters)) == ["a", "b", "c"]


def test_a_character_spread_over_tokens_belongs_to_the_one_that_completes_it() -> None:
    # "é" is two bytes, one token each: the first alone is no character yet.
    assert list(texts([0x61, 0xC3, 0xA9, 0x62], bytes_of_characters)) == ["a", "·", "é", "b"]


def test_answers_to_one_question_stand_together() -> None:
    slide = parsed(a_slide(1, an_answer(a_token()), an_answer(a_token()), an_answer(a_token(), question="2+2=")))

    (view,) = views([slide], letters)

    assert [(question, len(strips)) for question, strips in view.questions] == [("1+1=", 2), ("2+2=", 1)]


def test_an_endless_answer_is_cut_and_says_by_how_much() -> None:
    slide = parsed(a_slide(1, an_answer(*[a_token()] * (MAX_TOKENS + 7))))

    strip = views([slide], letters)[0].questions[0][1][0]

    assert (len(strip.cells), strip.hidden) == (MAX_TOKENS, 7)


def test_a_token_tells_all_its_numbers_and_what_became_of_it() -> None:
    token = a_token(entropy=1.25, probability=0.25, advantage=-0.5, k3=0.002, selected=False, clipped=True)

    cell = views([parsed(a_slide(1, an_answer(token)))], letters)[0].questions[0][1][0].cells[0]

    assert cell.classes == "e5 off cut"
    assert cell.tip == (
        "1: d   entropy 1.250 · probability 0.250 · advantage -0.500 · k3 0.002 · not trained · clipped"
    )
    assert cell.facts == ("1", "d", "1.250", "0.250", "-0.500", "0.002", "no", "yes")


def test_what_is_unknown_is_not_shown_as_zero() -> None:
    cell = (
        views([parsed(a_slide(1, an_answer(a_token(entropy=None, k3=None))))], letters)[0].questions[0][1][0].cells[0]
    )

    assert cell.classes == "eu on"
    assert "entropy unknown" in cell.tip
    assert "k3 none" in cell.tip


def test_the_page_shows_both_steps_with_the_model_s_own_tokens_and_escapes_them(tmp_path: Path) -> None:
    question = "<i>1+1=</i>"
    leave(tmp_path, *(a_slide(step, an_answer(a_token(id_=1), a_token(), question=question)) for step in (1, 60)))

    page = render_page(a_job(), NOTHING, COMPLETE, read_closeup(tmp_path, (), model=ARITHMETIC))

    assert re.findall(r"<h3>(Step \d+)</h3>", page) == ["Step 1", "Step 60"]
    assert "&lt;eos&gt;" in page
    assert "&lt;i&gt;1+1=&lt;/i&gt;" in page
    assert page.count("<summary>Token by token</summary>") == 2
    assert "<script" not in page


def test_the_forking_words_of_the_first_and_the_last_step_that_have_any_are_told() -> None:
    forks = [(), (Fork(token=1, count=30, entropy=0.9),), (), (Fork(token=2, count=12, entropy=0.5),), ()]
    reports = [msgspec.structs.replace(a_report(step), forks=found) for step, found in enumerate(forks, start=1)]

    assert forking_words(reports, letters) == (
        Words(step=2, words=(Word(text="a", count=30, entropy=0.9),)),
        Words(step=4, words=(Word(text="b", count=12, entropy=0.5),)),
    )
    assert [words.step for words in forking_words(reports[:2], letters)] == [2]


def test_the_page_shows_forking_words() -> None:
    closeup = CloseUp(words=(Words(step=2, words=(Word(text="<wait>", count=1234, entropy=0.9),)),))

    page = render_page(a_job(), NOTHING, COMPLETE, closeup)

    assert "<code>&lt;wait&gt;</code>" in page
    assert "1,234" in page


def test_without_slides_the_page_has_no_microscope() -> None:
    assert "Token microscope" not in render_page(a_job(), NOTHING, COMPLETE)


def test_without_the_model_s_tokenizer_there_is_no_microscope(tmp_path: Path) -> None:
    leave(tmp_path, a_slide(1, an_answer(a_token())))

    assert read_closeup(tmp_path, (), model=ModelSpec(path=str(tmp_path))) == CloseUp()


def test_a_record_takes_what_later_versions_add() -> None:
    assert isinstance(parsed(a_slide(1, an_answer(a_token(uncertain=True)))).answers[0], Specimen)
