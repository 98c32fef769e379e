import json
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from rlvr_trainer.learner.telemetry import telemetry
from rlvr_trainer.metrics import Board
from rlvr_trainer.surroundings import Surroundings


def a_place(port: int = 0) -> Surroundings:
    return Surroundings(job=Path("job.json"), folder=Path("work"), token_file=Path("token"), port=port)


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as reply:
        return reply.read().decode()


def test_health_and_figures_are_for_everybody() -> None:
    board = Board()
    board.set("rlvr_learner_step", 7)

    with telemetry(board, a_place()) as url:
        assert json.loads(read(f"{url}/health")) == {"status": "ok"}
        assert "rlvr_learner_step 7.0" in read(f"{url}/metrics")
        with pytest.raises(urllib.error.HTTPError, match="404"):
            read(f"{url}/progress")


def test_nothing_listens_afterwards() -> None:
    with telemetry(Board(), a_place()) as url:
        pass
    with pytest.raises(urllib.error.URLError):
        read(f"{url}/health")


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with (
            pytest.raises(OSError, match="address already in use"),
            telemetry(Board(), a_place(taken.getsockname()[1])),
        ):
            pass
