"""Keep as many prompts in flight as admission allows, and hand their groups out in order.

The one owner of what has been asked for and not yet used.  Nothing in it survives the process: after a restart the
ledger says where to begin.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

from rlvr_trainer.coordinator.admission import Limits, close_batch, room
from rlvr_trainer.coordinator.exchange import Resume
from rlvr_trainer.coordinator.ledger import next_positions
from rlvr_trainer.coordinator.produce import Produced
from rlvr_trainer.metrics import Board
from rlvr_trainer.samples import Fate

log = logging.getLogger(__name__)
_BARREN_BATCHES: Final = 5
"""Batches' worth of groups dropped in a row after which the log speaks up."""


class Intake:
    """Groups between being asked for and being used; starts when `policy_is` is first called."""

    def __init__(
        self,
        ask: Callable[[int], Awaitable[Produced]],
        *,
        limits: Limits,
        resume: Resume,
        tasks: asyncio.TaskGroup,
        board: Board,
    ) -> None:
        self._ask = ask
        self._limits = limits
        self._tasks = tasks
        self._board = board
        self._positions = next_positions(resume.state.ledger)
        self._version = resume.step
        self._num_used = resume.step * limits.prompts_per_step
        self._num_dropped_in_a_row = 0
        self._asked: deque[int] = deque()
        self._produced: dict[int, Produced] = {}
        self._changed = asyncio.Event()
        self.num_waiting = 0
        """Groups that count and are not yet in a batch."""

    @property
    def num_in_flight(self) -> int:
        return len(self._asked) - len(self._produced)

    def policy_is(self, version: int) -> None:
        """`version` steps are done: more prompts may be asked for."""
        self._version = version
        self._ask_for_more()

    async def next_batch(self) -> Sequence[Produced]:
        """The next batch's groups in order of position, dropped ones between them, once all are there."""
        while (positions := self._closed()) is None:
            self._changed.clear()
            await self._changed.wait()
        for position in positions:
            assert self._asked.popleft() == position, "groups are used in the order in which they were asked for"
        self.num_waiting -= self._limits.prompts_per_step
        self._num_used += self._limits.prompts_per_step
        return [self._produced.pop(position) for position in positions]

    def _closed(self) -> tuple[int, ...] | None:
        if self.num_waiting < self._limits.prompts_per_step:
            return None
        fates = {position: produced.fate for position, produced in self._produced.items()}
        return close_batch(self._asked, fates, size=self._limits.prompts_per_step)

    def _ask_for_more(self) -> None:
        accepted = self._num_used + self.num_waiting
        free = room(self._limits, version=self._version, accepted=accepted, in_flight=self.num_in_flight)
        for position in islice(self._positions, free):
            self._asked.append(position)
            self._tasks.create_task(self._see_through(position))
        self._publish()

    async def _see_through(self, position: int) -> None:
        produced = await self._ask(position)
        self._produced[position] = produced
        self.num_waiting += produced.fate is Fate.TRAINED
        self._note_drought(produced.fate)
        self._ask_for_more()
        self._changed.set()

    def _note_drought(self, fate: Fate) -> None:
        self._num_dropped_in_a_row = 0 if fate is Fate.TRAINED else self._num_dropped_in_a_row + 1
        if self._num_dropped_in_a_row and self._num_dropped_in_a_row % self._alarming == 0:
            log.warning(
                "the last %d groups were dropped, the newest as %s: prompts too easy, too hard, or a failing verifier",
                self._num_dropped_in_a_row,
                fate,
            )

    @property
    def _alarming(self) -> int:
        return _BARREN_BATCHES * self._limits.prompts_per_step

    def _publish(self) -> None:
        self._board.set("rlvr_coordinator_groups_in_flight", self.num_in_flight)
        self._board.set("rlvr_coordinator_groups_waiting", self.num_waiting)
