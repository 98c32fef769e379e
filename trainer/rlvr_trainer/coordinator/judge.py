"""Ask the reward service what completions are worth.

Replicas take turns.  A request without an answer is repeated for ever: judging is stateless, and a job without judges
can only wait.  An error verdict stays an error; it is never turned into a score here.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.metrics import Board
from rlvr_trainer.samples import Completion, Group, Outcome, ScoredGroup, Task, Verdict
from rlvr_trainer.transport import Client

log = logging.getLogger(__name__)
_FIRST_DELAY: Final = 0.1
_LONGEST_DELAY: Final = 5.0


class _Verdict(msgspec.Struct):
    id: str
    outcome: Outcome
    score: float | None = None
    reason: str = ""


class Verdicts(msgspec.Struct):
    """Body of a reply of POST /score."""

    verdicts: list[_Verdict]


class Judge:
    """The reward replicas of a job."""

    def __init__(self, client: Client, board: Board, *, urls: Callable[[], Sequence[str]], patience: float) -> None:
        """`urls`: the replicas of the moment, never none.  `patience`: seconds after which a request without an answer
        is repeated elsewhere.
        """
        self._client = client
        self._board = board
        self._urls = urls
        self._turn = itertools.count()
        self._patience = patience

    async def score(self, group: Group) -> ScoredGroup:
        """One verdict for each completion, in order, however long it takes."""
        body, began = score_request(group), time.monotonic()
        reply = await self._post(body)
        self._board.observe("rlvr_coordinator_judge_seconds", time.monotonic() - began)
        return ScoredGroup(group=group, verdicts=read_verdicts(reply, num_items=len(group.completions)))

    async def _post(self, body: dict[str, Any]) -> Verdicts:
        delay = _FIRST_DELAY
        while True:
            urls = self._urls()
            url = urls[next(self._turn) % len(urls)]
            try:
                return await self._client.ask(f"{url}/score", body, timeout=self._patience, kind=Verdicts)
            except Unavailable as error:
                log.warning("asking for verdicts again in %.1f s: %s", delay, error)
                self._board.add("rlvr_coordinator_judge_retries_total")
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY)


def score_request(group: Group) -> dict[str, Any]:
    """The body of POST /score; completion i is item i."""
    return {"items": [_item(index, one, group.prompt.task) for index, one in enumerate(group.completions)]}


def read_verdicts(reply: Verdicts, *, num_items: int) -> tuple[Verdict, ...]:
    """The verdicts in a reply, one for each item asked for, or TrainerError."""
    by_id = {verdict.id: verdict for verdict in reply.verdicts}
    missing = [str(index) for index in range(num_items) if str(index) not in by_id]
    if missing:
        raise TrainerError(f"the reward service gave no verdict for items {', '.join(missing)} of {num_items}")
    return tuple(_verdict(by_id[str(index)]) for index in range(num_items))


def _item(index: int, completion: Completion, task: Task) -> dict[str, Any]:
    return {
        "id": str(index),
        "text": completion.text,
        "finish": completion.finish.value,
        "task": msgspec.to_builtins(task),
    }


def _verdict(found: _Verdict) -> Verdict:
    if (found.score is None) != (found.outcome is Outcome.ERROR):
        raise TrainerError(
            f"the reward service's verdict on item {found.id} is {found.outcome} with score {found.score}; "
            "an error has no score and everything else has one"
        )
    return Verdict(outcome=found.outcome, score=found.score, reason=found.reason)
