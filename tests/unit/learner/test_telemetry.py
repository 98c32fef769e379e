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
    return Surroundings(job=Path("job.json"), folder=Path("work"), token="secret", port=port)


def read(url: str, *, token: str = "") -> str:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=5) as reply:
        return reply.read().decode()


def test_metrics_are_for_who_has_the_token_and_health_for_everybody() -> None:
    board = Board()
    board.set("rlvr_learner_step", 7)

    with telemetry(board, a_place()) as url:
        assert json.loads(read(f"{url}/health")) == {"status": "ok"}
        assert "rlvr_learner_step 7.0" in read(f"{url}/metrics", token="secret")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            read(f"{url}/metrics", token="guess")


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
