"""The corpus itself: large, every item its own, all of it programs that are Python and answers that are not right."""

import os
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import hostile.corpus
from hostile.__main__ import escape_of
from hostile.canaries import Canaries, canaries
from hostile.corpus import Hostile, corpus, sample
from hostile.lane import Judged
from hostile.programs import DEEDS
from rlvr_trainer.samples import Task
from rlvr_trainer.verifiers import mathematics
from rlvr_trainer.verifiers.code.blocks import last_block
from rlvr_trainer.verifiers.code.records import read_tests

SCENE = {"FILE": "/f/secret", "FOLDER": "/f", "PORT": "1", "SOCKET": "/f/socket", "ABSTRACT": "a", "VICTIM": "2"}
ITEMS = corpus(SCENE, wanted="wanted" + "0" * 24)


def test_the_corpus_is_large_and_every_item_its_own() -> None:
    assert len(ITEMS) >= 1_000
    assert len({item.name for item in ITEMS}) == len({item.text for item in ITEMS}) == len(ITEMS)
    assert {item.family for item in ITEMS} == {*DEEDS, "answers"}


def test_its_source_fits_a_config_map_and_imports_nothing_else() -> None:
    files = list(Path(hostile.corpus.__file__).parent.glob("*.py"))
    assert sum(path.stat().st_size for path in files) < 900 * 1024

    imported = {
        word for path in files for word in re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.MULTILINE)
    }
    assert imported - set(sys.stdlib_module_names) == {"hostile", "rlvr_trainer"}


def test_a_sample_has_something_of_every_family_and_of_many_places() -> None:
    chosen = sample(ITEMS, 60)

    assert 50 <= len(chosen) <= 66
    assert len(set(Counter(item.family for item in chosen).values())) == 1
    assert len({item.name for item in chosen}) == len(chosen)
    assert len({item.name.rpartition("-")[2] for item in chosen if item.verifier == "code"}) >= 4


def test_every_program_is_python_with_tests_in_a_known_form_and_no_name_left_open() -> None:
    for item in (each for each in ITEMS if each.verifier == "code"):
        source = last_block(item.text)
        assert source is not None, item.name
        compile(source, item.name, "exec")
        read_tests(item.task["metadata"], field_name="tests", most=16)
        assert not [name for name in SCENE if f"@{name}@" in item.text]


def test_no_program_is_told_what_its_tests_want() -> None:
    assert not [item.name for item in ITEMS if "wanted" + "0" * 24 in item.text]


def test_an_answer_is_dressed_and_short_ones_are_not_right() -> None:
    answers = [item for item in ITEMS if item.family == "answers"]
    quick = [item for item in answers if any(f"answers-{number}-" in item.name for number in (53, 58, 60, 62, 64))]

    assert len(quick) == 20
    for item in quick:
        assert not mathematics.judge_mathematics(Task(answer="72"), item.text).is_correct


def found(folder: Path, deed: Callable[[Canaries], object]) -> list[str]:
    """What the canaries tell after `deed`."""
    with canaries(folder) as put_out:
        deed(put_out)
        ends = time.monotonic() + 5
        while not put_out.touched() and time.monotonic() < ends:
            time.sleep(0.01)
        return put_out.touched()


def visit(put_out: Canaries) -> None:
    with socket.create_connection(("127.0.0.1", int(put_out.scene["PORT"]))) as visitor:
        assert visitor.recv(99).decode() == put_out.secret


def visit_file(put_out: Canaries) -> None:
    with socket.socket(socket.AF_UNIX) as visitor:
        visitor.connect(put_out.scene["SOCKET"])


@pytest.mark.parametrize(
    ("deed", "words"),
    [
        (visit, "somebody reached TCP"),
        (visit_file, "somebody reached a socket"),
        (lambda put_out: (put_out.folder / "left").write_text("x"), "left was left in the folder"),
        (lambda put_out: (put_out.folder / "secret").write_text("x"), "the secret's file was changed"),
        (lambda put_out: (put_out.folder / "secret").unlink(), "the secret's file was changed"),
        (lambda put_out: os.kill(int(put_out.scene["VICTIM"]), 9), "the bystander was killed"),
    ],
)
def test_a_canary_that_is_touched_is_told(tmp_path: Path, deed: Callable[[Canaries], object], words: str) -> None:
    assert words in found(tmp_path, deed)


def test_canaries_that_nobody_touched_say_nothing(tmp_path: Path) -> None:
    with canaries(tmp_path) as put_out:
        assert put_out.touched() == []


def a_verdict(outcome: str, reason: str = "") -> Judged:
    item = Hostile(name="files-0", family="files", verifier="code", text="", task={})
    return Judged(item=item, outcome=outcome, reason=reason, seconds=0.1)


def test_being_right_and_telling_a_secret_are_escapes() -> None:
    assert escape_of(a_verdict("correct")) == "files-0 was taken for right"
    assert "told a secret" in str(escape_of(a_verdict("wrong", f"printed 'canary{'a1' * 12}'")))
    assert escape_of(a_verdict("wrong", "printed 'canary'")) is None
