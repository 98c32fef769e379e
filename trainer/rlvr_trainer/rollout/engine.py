"""The agent's side of an engine's control routes (vLLM 0.29 or newer, or the local engine that speaks like it).

Every call has a deadline in seconds; a control call that never returns is how rollouts hang for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rlvr_trainer.engines.vllm import check_version
from rlvr_trainer.errors import TrainerError, Unavailable
from rlvr_trainer.transport import Client

log = logging.getLogger(__name__)
_FIRST: Final = -1
"""vLLM takes lower ones first; all other requests have 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds until a control call is given up, and between two looks."""

    between_looks: float = 1.0
    look: float = 10.0
    """For the engine to say which version it holds."""
    pause: float = 300.0
    """Generation stops between two steps; on a CPU one step of a large model takes long."""
    load: float = 600.0
    label: float = 30.0
    resume: float = 60.0
    probe: float = 60.0
    """For the engine to say what it thinks of a few tokens; whatever is in flight is read again meanwhile."""
    broadcast: float = 15.0
    """For the learner to begin a broadcast, if it ever does, after the coordinator has asked for its policy."""


class EngineControl:
    """One engine at `url`."""

    def __init__(self, client: Client, url: str, patience: Patience) -> None:
        self.client = client
        self.url = url
        self.patience = patience

    async def weight_version(self) -> str:
        reply = await self._once("GET", "/weight_info", None, seconds=self.patience.look)
        return str(_field(reply, "weight_version"))

    async def check(self) -> None:
        """InvalidInput when the engine is a vLLM too old for us; waits for one that is still starting."""
        reply = await self.client.get(f"{self.url}/version", deadline=self.patience.pause)
        if not isinstance(reply, dict) or "engine" not in reply:
            check_version(str(_field(reply, "version")))

    async def has_directory_transfer(self) -> bool:
        """Whether our plug-in (`rlvr_vllm`) is in it; asked by preparing it for use."""
        try:
            await self._once(
                "POST", "/init_weight_transfer_engine", {"init_info": {"safetensors_dir": True}}, seconds=10
            )
        except Unavailable:
            raise
        except TrainerError:
            return False
        return True

    async def pause(self) -> None:
        """Freeze everything in place; keys and values are computed anew under the weights it resumes with."""
        # clear_cache is explicit: without it vLLM would go on with keys and values of the old weights.
        await self.client.post(f"{self.url}/pause?mode=keep&clear_cache=true", deadline=self.patience.pause)

    async def reload(self, folder: Path, *, label: str) -> None:
        """Have every worker read `folder` as if it had started from it, then name what it holds."""
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
        await self._once("POST", "/collective_rpc", body, seconds=self.patience.load)
        await self.client.post(
            f"{self.url}/update_weight_version", {"new_version": label}, deadline=self.patience.label
        )

    async def transfer(self, folder: Path, *, label: str) -> None:
        """The same through our plug-in, which checks the folder before it touches a weight."""
        await self._once("POST", "/start_weight_update", None, seconds=self.patience.label)
        await self._once("POST", "/update_weights", {"update_info": {"path": str(folder)}}, seconds=self.patience.load)
        await self._once("POST", "/finish_weight_update", {"weight_version": label}, seconds=self.patience.load)

    async def world_size(self) -> int:
        """Processes that hold a part of the weights."""
        return int(_field(await self._once("GET", "/get_world_size", None, seconds=self.patience.look), "world_size"))

    async def join(self, init_info: Mapping[str, Any], *, seconds: float) -> None:
        """Bring every worker into a circle with the learner; returns when all of the circle are in it."""
        try:  # what it was in before, vLLM would only forget
            await self._once("POST", "/shutdown_weight_transfer_engine", None, seconds=self.patience.label)
        except TrainerError as error:
            log.debug("there was nothing to leave: %s", error)
        await self._once("POST", "/init_weight_transfer_engine", {"init_info": init_info}, seconds=seconds)

    async def receive(self, update_info: Mapping[str, Any], *, label: str, seconds: float) -> None:
        """Take the weights that the learner broadcasts now, then name them."""
        await self._once("POST", "/start_weight_update", None, seconds=self.patience.label)
        try:
            await self._once("POST", "/update_weights", {"update_info": update_info}, seconds=seconds)
        except BaseException:  # a cancelled one too leaves layers that wait
            await self._close_update()
            raise
        await self._once("POST", "/finish_weight_update", {"weight_version": label}, seconds=self.patience.load)

    async def _close_update(self) -> None:
        """Put layers that wait for weights back, or whatever is loaded next would add to what had come.

        After an update that failed vLLM counts it as over, though the layers wait on: begun again, it can be finished.
        """
        for path in ("/start_weight_update", "/finish_weight_update"):
            try:
                await self._once("POST", path, None, seconds=self.patience.label)
            except Unavailable as error:  # stuck in the broadcast it hears nothing more
                log.warning("after a failed broadcast: %s", error)
                return
            except TrainerError as error:
                log.info("after a failed broadcast: %s", error)

    async def resume(self) -> None:
        await self._once("POST", "/resume", None, seconds=self.patience.resume)

    async def abort_all(self) -> None:
        await self._once("POST", "/abort_requests", {}, seconds=self.patience.label)

    async def logprobs_of(self, token_ids: Sequence[int], *, label: str) -> list[float]:
        """Log-probability of every token but the first, at temperature 1; answered before whatever else waits."""
        body = {
            "request_id": f"probe-{label}",
            "token_ids": list(token_ids),
            "cache_salt": label,
            "priority": _FIRST,
            "sampling_params": {"max_tokens": 1, "prompt_logprobs": 0, "detokenize": False},
        }
        reply = await self._once("POST", "/inference/v1/generate", body, seconds=self.patience.probe)
        found = _field(reply, "prompt_logprobs")
        try:
            return [float(row[str(token)]["logprob"]) for token, row in zip(token_ids[1:], found[1:], strict=True)]
        except (KeyError, TypeError, ValueError) as error:
            raise TrainerError(f"the engine answered a probe of {len(token_ids)} tokens with {found!r}") from error

    async def _once(self, method: str, path: str, body: Any, *, seconds: float) -> Any:
        return await self.client.once(method, f"{self.url}{path}", body, timeout=seconds)


def _field(reply: Any, name: str) -> Any:
    if not isinstance(reply, dict) or name not in reply:
        raise TrainerError(f"the engine answered {reply!r}, without {name}; it is not vLLM 0.29 or newer.")
    return reply[name]
