"""The thread that owns the engine, and the only door to it.

Everything asked of the engine happens between two steps, in order of asking.  When a step fails the loop is dead: all
who wait are told, all later calls are refused, and the process should end.
"""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from rlvr_trainer.engines.local.engine import Engine
from rlvr_trainer.engines.local.requests import Choice, Request
from rlvr_trainer.errors import Unavailable
from rlvr_trainer.metrics import Board

log = logging.getLogger(__name__)
T = TypeVar("T")


class PauseMode(enum.StrEnum):
    """What becomes of requests when generation is paused; new ones are queued in every mode."""

    ABORT = "abort"
    """All are answered at once with what they have."""
    WAIT = "wait"
    """Running completions are finished first; what waits goes on waiting."""
    KEEP = "keep"
    """Frozen in place."""


class EngineLoop:
    """Start it, call it from any thread, stop it."""

    def __init__(self, engine: Engine, board: Board) -> None:
        self.died: Future[None] = Future()
        """Gets the exception that ended the loop, if one does."""
        self.died.set_running_or_notify_cancel()  # so that nobody who stops waiting for it can cancel it
        self._engine = engine
        self._board = board
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._answers: dict[str, Future[list[Choice]]] = {}
        self._paused = False
        self._draining: list[Future[None]] = []
        """Pauses that wait for running completions."""
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    @property
    def is_paused(self) -> bool:
        """Read without waiting for the step that runs."""
        self._refuse_if_dead()
        return self._paused or bool(self._draining)

    @property
    def weight_version(self) -> str:
        """Read without waiting for the step that runs: a long one must not look like a dead engine."""
        self._refuse_if_dead()
        return self._engine.weight_version

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the present step; unanswered requests are not answered."""
        self._calls.put(self._stop)
        self._thread.join()

    def generate(self, request: Request) -> Future[list[Choice]]:
        """Queue `request`."""
        answer: Future[list[Choice]] = Future()

        def submit() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            self._engine.submit(request, answer.set_result)
            self._answers[request.request_id] = answer
            answer.add_done_callback(lambda _: self._answers.pop(request.request_id, None))

        queued = self.call(submit)
        queued.add_done_callback(lambda done: _pass_on_failure(done, answer))
        return answer

    def score(self, token_ids: tuple[int, ...]) -> Future[npt.NDArray[np.float32]]:
        """Log-probabilities of all these tokens but the first, by the present weights."""
        return self.call(lambda: self._engine.score(token_ids))

    def abort(self, request_ids: list[str] | None) -> Future[int]:
        """Answer these requests (None: all) with what they have; how many there were."""
        return self.call(lambda: self._engine.abort_all() if request_ids is None else self._engine.abort(request_ids))

    def pause(self, mode: PauseMode, *, drop_cache: bool) -> Future[None]:
        """Resolved once no step runs; keys and values are computed anew after resuming if `drop_cache`."""
        paused: Future[None] = Future()

        def act() -> None:
            if not paused.set_running_or_notify_cancel():
                return
            if mode is PauseMode.ABORT:
                self._engine.abort_all()
            self._draining.append(paused)
            if drop_cache:
                self._engine.drop_cache()
            if mode is not PauseMode.WAIT or not self._engine.num_running:
                self._halt()

        self.call(act).add_done_callback(lambda done: _pass_on_failure(done, paused))
        return paused

    def resume(self) -> Future[None]:
        def act() -> None:
            self._paused = False
            self._end_draining()

        return self.call(act)

    def load(self, folder: Path) -> Future[None]:
        return self.call(lambda: self._engine.load(folder))

    def label(self, version: str) -> Future[None]:
        return self.call(lambda: self._engine.label(version))

    def reset_cache(self, *, running_too: bool) -> Future[bool]:
        """Whether nothing computed before is used again; running sequences keep theirs unless `running_too`."""

        def act() -> bool:
            if running_too:
                self._engine.drop_cache()
            return running_too or not self._engine.num_running

        return self.call(act)

    def call(self, action: Callable[[], T]) -> Future[T]:
        """Run `action` on the engine's thread between two steps."""
        result: Future[T] = Future()

        def act() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                self._refuse_if_dead()
                result.set_result(action())
            except Exception as error:  # noqa: BLE001 - whoever called decides what it means
                result.set_exception(error)

        self._calls.put(act)
        return result

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._serve_calls(wait=not self._has_work())
                if self._has_work():
                    self._step()
        except BaseException as error:  # nobody above: whoever waits must hear of it
            log.exception("the engine loop has died")
            self._die(error)
            while not self._stopping:
                self._serve_calls(wait=True)

    def _has_work(self) -> bool:
        return not self._paused and not self._engine.is_idle

    def _step(self) -> None:
        engine = self._engine
        sampled, read = engine.num_sampled_tokens, engine.num_prompt_tokens
        engine.step(admit=not self._draining)
        self._board.add("rlvr_engine_generated_tokens_total", engine.num_sampled_tokens - sampled)
        self._board.add("rlvr_engine_prompt_tokens_total", engine.num_prompt_tokens - read)
        self._board.set("rlvr_engine_sequences_running", engine.num_running)
        self._board.set("rlvr_engine_sequences_waiting", engine.num_waiting)
        if self._draining and not engine.num_running:
            self._halt()

    def _serve_calls(self, *, wait: bool) -> None:
        try:
            self._calls.get(block=wait)()
            while True:
                self._calls.get_nowait()()
        except Empty:
            return

    def _halt(self) -> None:
        self._paused = True
        self._end_draining()

    def _end_draining(self) -> None:
        for paused in self._draining:
            paused.set_result(None)
        self._draining.clear()

    def _stop(self) -> None:
        self._stopping = True

    def _die(self, error: BaseException) -> None:
        self.died.set_exception(error)
        told = Unavailable(f"the engine died while answering: {error!r}; restart its process.")
        for answer in list(self._answers.values()):
            answer.set_exception(told)
        for paused in self._draining:
            paused.set_exception(told)

    def _refuse_if_dead(self) -> None:
        if self.died.done():
            raise Unavailable(f"the engine has died: {self.died.exception()!r}; restart its process.")


def _pass_on_failure(done: Future[None], waiting: Future[T]) -> None:
    error = done.exception()
    if error is not None:
        waiting.set_exception(error)
