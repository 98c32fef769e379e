"""Where rollouts and rewards are, also those that scaling adds while the job runs.

In a pod `peers.json` beside the job says it, and is replaced when there are more; on one machine the environment does.
A rollout that is taken away stays on the list of the kept: it is lost, is given nothing, and may come back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final, NoReturn, Protocol

import msgspec

from rlvr_trainer.credentials import Kept
from rlvr_trainer.errors import InvalidInput
from rlvr_trainer.surroundings import Surroundings
from rlvr_trainer.wire import from_json

log = logging.getLogger(__name__)
PEERS_FILE: Final = "peers.json"
_LOOK_SECONDS: Final = 2.0
"""Between two looks at the list; the kubelet brings a new one within about a minute."""


class Peers(msgspec.Struct, frozen=True):
    """Base URLs of the replicas there may be."""

    rollouts: tuple[str, ...]
    rewards: tuple[str, ...]


AskPeers = Callable[[], Peers]


class Keeper(Protocol):
    """Who looks after replicas."""

    def keep(self, url: str) -> Coroutine[None, None, NoReturn]: ...


def peers_of(surroundings: Surroundings) -> AskPeers:
    """How to ask for the list of the moment; InvalidInput when it is empty now."""
    path = surroundings.job.with_name(PEERS_FILE)
    told = Peers(rollouts=surroundings.rollouts, rewards=surroundings.rewards)
    ask: AskPeers = Kept(path, partial(from_json, kind=Peers)) if path.exists() else lambda: told
    for name, urls in (("rollout", ask().rollouts), ("reward", ask().rewards)):
        if not urls:
            raise InvalidInput(
                f"no {name} is named in {path} or RLVR_{name.upper()}S: a coordinator needs at least one of them."
            )
    return ask


async def keep_all(peers: AskPeers, keeper: Keeper, *, seconds: float = _LOOK_SECONDS) -> NoReturn:
    """Have every rollout kept, those too that appear on the list later."""
    kept: set[str] = set()
    async with asyncio.TaskGroup() as tasks:
        while True:
            for url in peers().rollouts:
                if url not in kept:
                    kept.add(url)
                    tasks.create_task(keeper.keep(url))
            await asyncio.sleep(seconds)
