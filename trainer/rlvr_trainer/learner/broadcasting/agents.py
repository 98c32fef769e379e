"""What a learner that broadcasts asks and tells the agents before the rollouts; each call has a deadline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from torch import Tensor

from rlvr_trainer.errors import TrainerError
from rlvr_trainer.learner.broadcasting.plan import Circle, Patience, Replica
from rlvr_trainer.storage.signatures import Signature
from rlvr_trainer.transport import Client

log = logging.getLogger(__name__)
_LOOK_SECONDS: Final = 0.05


class Standing(msgspec.Struct, rename="camel"):
    """What an agent says at GET /broadcast."""

    state: str
    version: str | None = None
    circle: str | None = None
    wanted: str | None = None
    world_size: int | None = None
    """Told to who asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Call:
    """A policy that is broadcast."""

    label: str
    circle: Circle
    weights: Mapping[str, Tensor]
    signature: Signature

    def body(self, *, seconds: float) -> dict[str, Any]:
        """For POST /broadcast/take; vLLM cuts the stream by these names, types and shapes, in this order."""
        weights = self.weights
        return {
            "label": self.label,
            "circle": self.circle.name,
            "updateInfo": {
                "names": list(weights),
                "dtype_names": [str(tensor.dtype).removeprefix("torch.") for tensor in weights.values()],
                "shapes": [list(tensor.shape) for tensor in weights.values()],
            },
            "signature": msgspec.to_builtins(self.signature),
            "seconds": seconds,
        }


def joinings(circle: Circle, rendezvous: Mapping[str, Any], *, seconds: float) -> dict[str, dict[str, Any]]:
    """The body for POST /broadcast/join by member."""
    return {
        member.url: {
            "circle": circle.name,
            "initInfo": {**rendezvous, "rank_offset": member.rank_offset, "world_size": circle.world_size},
            "seconds": seconds,
        }
        for member in circle.members
    }


async def replicas_at(client: Client, urls: Iterable[str], *, seconds: float) -> list[Replica]:
    """Those that answer; one that does not is no rollout of the moment."""

    async def look(url: str) -> Replica | None:
        try:
            standing = await _standing(client, url, query="?size", seconds=seconds)
        except TrainerError as error:
            log.info("%s takes no broadcast: %s", url, error)
            return None
        if standing.world_size is None:
            log.warning("%s takes no broadcast: it does not tell worldSize. Give its pod the learner's image.", url)
            return None
        is_ready = standing.state == "ready" and standing.version is not None
        return Replica(url=url, is_ready=is_ready, circle=standing.circle, world_size=standing.world_size)

    return [replica for replica in await asyncio.gather(*map(look, urls)) if replica is not None]


async def is_wanted(client: Client, urls: Sequence[str], label: str, *, patience: Patience) -> bool:
    """Whether the coordinator has asked for the policy at each of them, in time, and none has it already."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + patience.wanted
    while loop.time() < ends:
        standings = await asyncio.gather(*(_standing(client, url, seconds=patience.look) for url in urls))
        if any(standing.version == label for standing in standings):
            return False
        if all(standing.wanted == label for standing in standings):
            return True
        await asyncio.sleep(_LOOK_SECONDS)
    return False


async def skip(client: Client, urls: Iterable[str], label: str, *, seconds: float) -> None:
    """Let nobody wait for this policy's broadcast; who does not hear it waits until it has had enough."""
    told = (client.once("POST", f"{url}/broadcast/skip", {"label": label}, timeout=seconds) for url in urls)
    await asyncio.gather(*told, return_exceptions=True)


async def _standing(client: Client, url: str, *, query: str = "", seconds: float) -> Standing:
    reply = await client.once("GET", f"{url}/broadcast{query}", None, timeout=seconds)
    try:
        return msgspec.convert(reply, Standing)
    except msgspec.ValidationError as error:
        raise TrainerError(f"{url}/broadcast answered {reply!r}: {error}") from error
