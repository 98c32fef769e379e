import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from asking import a_request, an_engine
from rlvr_trainer.engines.local.engine import Engine
from rlvr_trainer.engines.local.loop import EngineLoop, PauseMode
from rlvr_trainer.errors import InvalidInput, Unavailable
from rlvr_trainer.metrics import Board
from tiny_models import write_model

SOON = 20.0


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return an_engine(write_model(tmp_path_factory.mktemp("model")), max_concurrent=4)


@pytest.fixture
def loop(engine: Engine) -> Iterator[EngineLoop]:
    started = EngineLoop(engine, Board())
    started.start()
    yield started
    started.abort(None).result(SOON)
    started.stop()


def test_a_request_is_answered_once_all_its_completions_are(loop: EngineLoop) -> None:
    choices = loop.generate(a_request(num_completions=6, max_tokens=5)).result(SOON)

    assert [choice.index for choice in choices] == list(range(6))


def test_keep_freezes_what_runs_and_takes_new_requests(loop: EngineLoop) -> None:
    running = loop.generate(a_request("running", max_tokens=150))

    loop.pause(PauseMode.KEEP, drop_cache=False).result(SOON)
    queued = loop.generate(a_request("queued", max_tokens=2))
    time.sleep(0.05)
    assert loop.is_paused
    assert not running.done()
    assert not queued.done()
    loop.resume().result(SOON)

    assert len(queued.result(SOON)[0].token_ids) == 2
    assert len(running.result(SOON)[0].token_ids) == 150


@pytest.mark.parametrize("mode", PauseMode)
def test_new_requests_wait_for_the_end_of_every_pause(loop: EngineLoop, mode: PauseMode) -> None:
    loop.pause(mode, drop_cache=True).result(SOON)

    queued = loop.generate(a_request(max_tokens=1))
    time.sleep(0.02)
    assert not queued.done()
    loop.resume().result(SOON)

    assert queued.result(SOON)


def test_wait_lets_running_completions_finish_and_admits_nobody(loop: EngineLoop) -> None:
    running = loop.generate(a_request("running", num_completions=4, max_tokens=40))
    waiting = loop.generate(a_request("waiting", max_tokens=1))
    await_sampling(loop, num_running=4)

    loop.pause(PauseMode.WAIT, drop_cache=False).result(SOON)

    assert running.done()
    assert not waiting.done()
    loop.resume().result(SOON)
    assert waiting.result(SOON)


def test_resuming_ends_a_wait_that_still_drains(loop: EngineLoop) -> None:
    running = loop.generate(a_request(max_tokens=150))
    waiting = loop.pause(PauseMode.WAIT, drop_cache=False)

    loop.resume().result(SOON)

    assert waiting.result(SOON) is None
    assert len(running.result(SOON)[0].token_ids) == 150
    assert not loop.is_paused


def test_an_error_of_a_call_belongs_to_its_caller(loop: EngineLoop, tmp_path: Path) -> None:
    first = loop.generate(a_request("same", max_tokens=500))

    with pytest.raises(InvalidInput, match="same"):
        loop.generate(a_request("same")).result(SOON)

    loop.abort(["same"]).result(SOON)
    assert first.result(SOON)[0].finish_reason == "abort"


def test_a_caller_who_left_before_its_turn_is_skipped(loop: EngineLoop) -> None:
    done: list[str] = []
    blocked: Future[None] = loop.call(lambda: time.sleep(0.05))
    left = loop.call(lambda: done.append("left"))

    assert left.cancel()
    blocked.result(SOON)
    loop.call(lambda: done.append("stayed")).result(SOON)

    assert done == ["stayed"]


def test_when_a_step_fails_everybody_is_told(tmp_path: Path) -> None:
    engine = an_engine(write_model(tmp_path))
    loop = EngineLoop(engine, Board())
    engine.submit(a_request("poison", max_tokens=80), fail)
    running = loop.generate(a_request(max_tokens=500))
    loop.start()
    await_sampling(loop, num_running=2)
    draining = loop.pause(PauseMode.WAIT, drop_cache=False)

    for answer in (running, draining):
        with pytest.raises(Unavailable, match="poisoned"):
            answer.result(SOON)
    assert isinstance(loop.died.exception(SOON), RuntimeError)
    later: list[Callable[[], object]] = [
        lambda: loop.generate(a_request("late")).result(SOON),
        lambda: loop.resume().result(SOON),
        lambda: loop.weight_version,
    ]
    for call in later:
        with pytest.raises(Unavailable, match="died"):
            call()
    loop.stop()


def await_sampling(loop: EngineLoop, *, num_running: int) -> None:
    while loop.call(lambda: loop._engine.num_running).result(SOON) < num_running:
        time.sleep(0.001)


def fail(_: object) -> None:
    raise RuntimeError("poisoned")


def test_counters_and_gauges_follow_the_engine(engine: Engine) -> None:
    board = Board()
    loop = EngineLoop(engine, board)
    loop.start()

    loop.generate(a_request(token_ids=[2, 3, 4, 5], num_completions=2, max_tokens=10)).result(SOON)
    loop.stop()

    lines = board.render().decode().splitlines()
    assert "rlvr_engine_generated_tokens_total 20.0" in lines
    assert "rlvr_engine_prompt_tokens_total 3.0" in lines
    assert "rlvr_engine_sequences_running 0.0" in lines
