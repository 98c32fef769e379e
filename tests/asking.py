"""Requests for the local engine, and a way to run them without threads."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from rlvr_trainer.engines.local.engine import Engine, open_engine
from rlvr_trainer.engines.local.requests import Choice, Request, Sampling


def an_engine(folder: Path, *, max_concurrent: int = 64, max_context: int | None = None) -> Engine:
    torch.set_num_threads(1)
    return open_engine(folder, max_concurrent=max_concurrent, max_context=max_context, dtype=torch.float32)


def a_request(request_id: str = "r", token_ids: Sequence[int] = (5, 6, 7), **sampling: Any) -> Request:
    defaults: dict[str, Any] = {
        "num_completions": 1,
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 10**6,
        "max_tokens": 16,
        "seed": 0,
        "end_token_ids": (),
        "stop_token_ids": (),
    }
    return Request(request_id=request_id, token_ids=tuple(token_ids), sampling=Sampling(**defaults | sampling))


def answers(engine: Engine, requests: Iterable[Request]) -> dict[str, list[Choice]]:
    """Run `requests` together to their end."""
    finished: dict[str, list[Choice]] = {}
    for request in requests:
        engine.submit(request, lambda choices, key=request.request_id: finished.update({key: choices}))
    while not engine.is_idle:
        engine.step()
    return finished


def bits(choices: list[Choice]) -> list[tuple[bytes, bytes]]:
    """Tokens and log-probabilities, comparable bit for bit."""
    return [(choice.token_ids.tobytes(), choice.logprobs.tobytes()) for choice in choices]
