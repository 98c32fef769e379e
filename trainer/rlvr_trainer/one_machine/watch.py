"""Join decisions with processes: look, decide, act, show, twenty times a second, until the run is over.

The only place that knows both the rules (supervision.py) and the world (processes.py, the coordinator's /progress,
signals).
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

from rlvr_api import Progress
from rlvr_trainer.errors import TrainerError
from rlvr_trainer.one_machine.events import Action, Event, Exited, Interrupted, Kill, Progressed, Say, Start, Stop, Tick
from rlvr_trainer.one_machine.processes import Command, Processes
from rlvr_trainer.one_machine.state import Limits, Member, Rule, State
from rlvr_trainer.one_machine.supervision import begin, decide
from rlvr_trainer.one_machine.view import Screen, View
from rlvr_trainer.one_machine.words import changes
from rlvr_trainer.transport import open_client

LOOK_SECONDS: Final = 0.05
SHOW_SECONDS: Final = 0.25
ASK_SECONDS: Final = 0.5
_STORE_PATIENCE_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What there is to watch."""

    job: str
    total_steps: int
    members: Mapping[str, Member]
    limits: Limits
    attempt: int
    """The first."""
    checkpoint: int | None
    """Step of the newest complete checkpoint before it."""
    command: Callable[[str, int], Command]
    """How to start a member in an attempt."""
    started: Callable[[str, int, int], None]
    """Told (name, attempt, process id) of every start."""
    newest_checkpoint: Callable[[], int | None]
    """The same now; may raise Unavailable, and may take its time."""
    progress_url: str
    token: str


async def watch(run: Run, processes: Processes, screen: Screen) -> State:
    """Start the run's processes and see them through to its end; returns how it ended."""
    watcher = Watcher(run, processes, screen)
    with _interrupting(watcher):
        async with asyncio.TaskGroup() as tasks:
            follower = tasks.create_task(watcher.follow_progress())
            state = await watcher.until_over()
            follower.cancel()
    return state


class Watcher:
    """The owner of the run's state."""

    def __init__(self, run: Run, processes: Processes, screen: Screen) -> None:
        self._run = run
        self._processes = processes
        self._screen = screen
        self._has_audience = True
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._state = begin(run.members, attempt=run.attempt, checkpoint=run.checkpoint, now=self._began)

    async def until_over(self) -> State:
        next_show = 0.0
        while not self._state.is_over:
            for name, code in self._processes.ended():
                await self._member_ended(name, code)
            self.feed(Tick())
            if time.monotonic() >= next_show:
                self._display(lambda: self._screen.show(self._view()))
                next_show = time.monotonic() + SHOW_SECONDS
            await asyncio.sleep(LOOK_SECONDS)
        self._display(lambda: self._screen.show(self._view()))
        return self._state

    async def follow_progress(self) -> None:
        """Ask the coordinator how far it is, for as long as this runs."""
        async with open_client(token=lambda: self._run.token) as client:
            while True:
                try:
                    answer = await client.once("GET", self._run.progress_url, None, timeout=2.0)
                except TrainerError:
                    pass  # it is starting or being replaced; silence is not news
                else:
                    self._heard(Progress.model_validate(answer))
                await asyncio.sleep(ASK_SECONDS)

    def feed(self, event: Event) -> None:
        """Decide about `event` and act on it."""
        self._state, actions = decide(self._state, event, now=time.monotonic(), limits=self._run.limits)
        for action in actions:
            self._act(action)

    def stop(self) -> None:
        """Ask for an orderly end; asking again changes nothing."""
        if not self._state.stopping and self._state.outcome is None:
            self.feed(Interrupted())

    def _display(self, draw: Callable[[], None]) -> None:
        """Show something; when the terminal is gone or the pipe closed, nobody watches and the run ends in order."""
        if not self._has_audience:
            return
        try:
            draw()
        except OSError:
            self._has_audience = False
            self.stop()

    def _act(self, action: Action) -> None:
        match action:
            case Start(name=name):
                process_id = self._processes.start(self._run.command(name, self._state.attempt))
                self._run.started(name, self._state.attempt, process_id)
            case Stop(name=name):
                self._processes.stop(name)
            case Kill(name=name):
                self._processes.kill(name)
            case Say(text=text):
                self._display(lambda: self._screen.say(text, elapsed=self._elapsed))

    async def _member_ended(self, name: str, code: int) -> None:
        if self._state.members[name].rule is Rule.ATTEMPT:
            # The coordinator may not have lived to tell of the newest checkpoint, which decides about the next attempt.
            self.feed(Progressed(step=None, checkpoint=await _ask_store(self._run)))
        self.feed(Exited(name, code))

    def _heard(self, progress: Progress) -> None:
        for change in changes(self._progress, progress, known_checkpoint=self._state.checkpoint):
            self._display(partial(self._screen.say, change, elapsed=self._elapsed))
        self._progress = progress
        has_begun = progress.policy is not None
        self.feed(Progressed(step=progress.step if has_begun else None, checkpoint=progress.checkpoint.step))

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _view(self) -> View:
        return View(
            job=self._run.job,
            total_steps=self._run.total_steps,
            elapsed=self._elapsed,
            unix_time=time.time(),
            attempt=self._state.attempt,
            members=self._state.members,
            progress=self._progress,
        )


@contextmanager
def _interrupting(watcher: Watcher) -> Iterator[None]:
    """Ctrl-C and SIGTERM are events of the run, each time; a terminal that goes away (SIGHUP) is one only once."""
    loop, ask = asyncio.get_running_loop(), partial(watcher.feed, Interrupted())
    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGINT: ask,
        signal.SIGTERM: ask,
        signal.SIGHUP: watcher.stop,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


async def _ask_store(run: Run) -> int | None:
    """Step of the newest checkpoint; None when there is none, or the store does not say so in time."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(run.newest_checkpoint), _STORE_PATIENCE_SECONDS)
    except (TrainerError, TimeoutError):
        return None
