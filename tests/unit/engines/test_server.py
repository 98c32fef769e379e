from concurrent.futures import Future
from pathlib import Path

import aiohttp
import torch

from asking import a_request, an_engine, answers
from rlvr_trainer.engines.local.engine import open_engine
from rlvr_trainer.engines.local.loop import EngineLoop
from rlvr_trainer.engines.local.server import engine_app
from rlvr_trainer.metrics import Board
from rlvr_trainer.transport import serving
from tiny_models import write_model


def fail(_: object) -> None:
    raise RuntimeError("poisoned")


async def test_health_is_500_and_everything_else_503_once_the_loop_has_died(tmp_path: Path) -> None:
    engine, board = an_engine(write_model(tmp_path)), Board()
    loop = EngineLoop(engine, board)
    engine.submit(a_request("poison", max_tokens=1), fail)
    async with (
        serving(engine_app(engine.architecture, loop, board), host="127.0.0.1", port=0) as url,
        aiohttp.ClientSession() as session,
    ):
        loop.start()
        died: Future[None] = loop.died
        assert isinstance(died.exception(10), RuntimeError)
        for path, status in (("/health", 500), ("/weight_info", 503), ("/metrics", 200)):
            async with session.get(url + path) as reply:
                assert reply.status == status
    loop.stop()


def test_bfloat16_samples_from_nearly_the_same_distribution(tmp_path: Path) -> None:
    folder = write_model(tmp_path)
    torch.set_num_threads(1)
    engine = open_engine(folder, max_concurrent=8, max_context=None, dtype=torch.bfloat16)

    half = answers(engine, [a_request(max_tokens=1, num_completions=50)])["r"]
    full = answers(an_engine(folder), [a_request(max_tokens=1, num_completions=50)])["r"]

    alike = [
        (a.logprobs[0], b.logprobs[0]) for a, b in zip(half, full, strict=True) if a.token_ids[0] == b.token_ids[0]
    ]
    assert len(alike) > 40
    assert max(abs(a - b) for a, b in alike) < 0.1
