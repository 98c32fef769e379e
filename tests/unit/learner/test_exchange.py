import json
import threading
import time
from pathlib import Path

import pytest

from learning import random_facts
from rlvr_trainer.errors import CorruptArtifact
from rlvr_trainer.learner.exchange import Exchange, write_renamed
from rlvr_trainer.learner.state import Boundary
from rlvr_trainer.learner.stopping import Stop, StopRequested
from rlvr_trainer.samples import CoordinatorState
from rlvr_trainer.wire import pack


def leave(folder: Path, step: int, *, facts_of: int) -> None:
    write_renamed(folder / "batches" / f"{step:06d}.facts", pack(random_facts(facts_of)))


def test_a_batch_is_taken_as_soon_as_it_is_there(tmp_path: Path) -> None:
    exchange = Exchange(tmp_path, stop=Stop())
    threading.Timer(0.05, leave, args=(tmp_path, 4), kwargs={"facts_of": 4}).start()

    assert exchange.take(4).step == 4


def test_waiting_ends_when_somebody_asks_to_stop(tmp_path: Path) -> None:
    stop = Stop()
    threading.Timer(0.05, stop.request).start()

    with pytest.raises(StopRequested):
        Exchange(tmp_path, stop=stop).take(1)


def test_who_was_asked_to_stop_begins_no_step_even_if_its_batch_is_there(tmp_path: Path) -> None:
    stop = Stop()
    stop.request()
    leave(tmp_path, 1, facts_of=1)

    with pytest.raises(StopRequested):
        Exchange(tmp_path, stop=stop).take(1)


def test_the_facts_of_another_step_are_refused(tmp_path: Path) -> None:
    leave(tmp_path, 2, facts_of=3)

    with pytest.raises(CorruptArtifact, match=r"000002.facts holds the facts of step 3"):
        Exchange(tmp_path, stop=Stop()).take(2)


def test_the_coordinator_learns_where_the_attempt_begins(tmp_path: Path) -> None:
    Exchange(tmp_path, stop=Stop()).announce(Boundary(step=5, state=CoordinatorState(generated_tokens=9)))

    told = json.loads((tmp_path / "resume.json").read_text())
    assert told["step"] == 5 and told["state"]["generatedTokens"] == 9


def test_a_file_appears_whole(tmp_path: Path) -> None:
    """A reader that looks all the time never sees a part of it."""
    path, seen, done = tmp_path / "file", set(), threading.Event()

    def look() -> None:
        while not done.is_set():
            if path.exists():
                seen.add(path.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    for letter in (b"a", b"b", b"c"):
        write_renamed(path, letter * 500_000)
        time.sleep(0.005)
    done.set()
    reader.join()

    assert seen <= {letter * 500_000 for letter in (b"a", b"b", b"c")}
