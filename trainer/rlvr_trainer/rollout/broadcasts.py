"""Where a policy that the coordinator wants meets the learner that broadcasts it.

The coordinator decides when a replica moves; a broadcast is only another way for the weights to get there.  So an
engine in a circle waits a while with the policy it is to have, still generating, for the learner to say "now" or "not
this one"; then, and without a word from the learner, it takes the folder as ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.storage.signatures import Signature


class Joining(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Body of POST /broadcast/join."""

    circle: str
    init_info: dict[str, Any]
    """For vLLM's `/init_weight_transfer_engine`."""
    seconds: float
    """Until the circle is given up."""


class Broadcast(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Body of POST /broadcast/take: the learner sends these weights to its circle now."""

    label: str
    circle: str
    update_info: dict[str, Any]
    """For vLLM's `/update_weights`."""
    signature: Signature | None
    seconds: float
    """Until the broadcast is given up."""


class Skipped(msgspec.Struct, frozen=True):
    """Body of POST /broadcast/skip: this policy is not broadcast."""

    label: str


class Meeting:
    """One at a time: updates of an engine take turns."""

    def __init__(self) -> None:
        self.wanted: str | None = None
        """The policy that waits for its broadcast."""
        self._skipped: str | None = None
        self._call: asyncio.Future[Broadcast | None] | None = None
        self._outcome: asyncio.Future[None] | None = None

    async def wait(self, label: str, *, seconds: float) -> Broadcast | None:
        """The learner's call for `label`, None when it does not broadcast that one; TimeoutError without a word."""
        if self._skipped == label:
            return None
        self.wanted, self._call = label, asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                return await self._call
        finally:
            self.wanted = self._call = None

    async def take(self, broadcast: Broadcast) -> None:
        """Call, and return when the engine has the policy; Unavailable when it could not take it."""
        if self.wanted != broadcast.label or self._call is None or self._call.done():
            raise TrainerError(
                f"policy {broadcast.label} is not waited for here (but {self.wanted}): the coordinator has not asked "
                "for it yet, or it was taken from its folder."
            )
        self._outcome = asyncio.get_running_loop().create_future()
        self._call.set_result(broadcast)
        await asyncio.shield(self._outcome)

    def skip(self, label: str) -> None:
        """Nobody needs to wait for `label`, now or later."""
        self._skipped = label
        if self.wanted == label and self._call is not None and not self._call.done():
            self._call.set_result(None)

    def settle(self, error: BaseException | None) -> None:
        """Tell the learner what became of the broadcast."""
        if self._outcome is None or self._outcome.done():
            return
        if error is None:
            self._outcome.set_result(None)
        else:
            self._outcome.set_exception(Unavailable(f"the broadcast failed here: {error}"))
            self._outcome.exception()  # the learner may be gone, and then nobody else looks
