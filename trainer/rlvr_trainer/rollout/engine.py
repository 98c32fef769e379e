"""The agent's side of an engine's control routes (vLLM 0.32, or the local engine that speaks like it).

Every call has a deadline in seconds; a control call that never returns is how rollouts hang for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_trainer.errors import TrainerError
from rlvr_trainer.transport import Client


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


class EngineControl:
    """One engine at `url`."""

    def __init__(self, client: Client, url: str, patience: Patience) -> None:
        self.client = client
        self.url = url
        self.patience = patience

    async def weight_version(self) -> str:
        reply = await self.client.once("GET", f"{self.url}/weight_info", None, timeout=self.patience.look)
        return str(_field(reply, "weight_version"))

    async def pause(self) -> None:
        """Freeze everything in place; keys and values are computed anew under the weights it resumes with."""
        # clear_cache is explicit: without it vLLM would go on with keys and values of the old weights.
        await self.client.post(f"{self.url}/pause?mode=keep&clear_cache=true", deadline=self.patience.pause)

    async def load(self, folder: Path) -> None:
        body = {"method": "reload_weights", "kwargs": {"weights_path": str(folder)}}
        await self.client.once("POST", f"{self.url}/collective_rpc", body, timeout=self.patience.load)

    async def label(self, version: str) -> None:
        body = {"new_version": version}
        await self.client.post(f"{self.url}/update_weight_version", body, deadline=self.patience.label)

    async def resume(self) -> None:
        await self.client.once("POST", f"{self.url}/resume", None, timeout=self.patience.resume)

    async def abort_all(self) -> None:
        await self.client.once("POST", f"{self.url}/abort_requests", {}, timeout=self.patience.label)


def _field(reply: Any, name: str) -> Any:
    if not isinstance(reply, dict) or name not in reply:
        raise TrainerError(f"the engine answered {reply!r}, without {name}; it is not vLLM 0.29 or newer.")
    return reply[name]
