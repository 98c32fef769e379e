"""vLLM as a role process: which one is taken, how it is started, and when it counts as hung."""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from builders import a_job
from rlvr_trainer.engines.vllm import Watch, check_version, command, environment, watch
from rlvr_trainer.errors import InvalidInput, TrainerError

QUICK = Watch(between_looks=0.05, patience=0.5)
SERVER = """
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    answered = 0
    def do_GET(self):
        Handler.answered += 1
        works = Handler.answered <= 3
        if not works and sys.argv[2] == "hang":
            time.sleep(60)
        self.send_response(200 if works else 500)
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@contextmanager
def a_process(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", *arguments]) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("version", ["0.29.0", "0.32.0+cpu", "0.33.1", "1.0.0", "0.30.0rc1.dev3+g12ab"])
def test_a_vllm_that_names_its_weights_is_taken(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["0.28.1", "0.9.2", "0.16.0+cpu", "dev"])
def test_an_older_one_is_refused_with_the_version_that_would_do(version: str) -> None:
    with pytest.raises(InvalidInput, match=rf"vLLM {re.escape(version)} is too old: .* begin with 0\.29\. Install"):
        check_version(version)


def test_it_listens_on_loopback_and_serves_the_jobs_model_by_the_manifests_arguments() -> None:
    words = command(a_job(rollout={"engine": "vllm", "maxConcurrent": 7}).spec, port=9, devices=0, has_plugin=False)

    assert words[:3] == [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    told = dict(pairwise(words))
    assert (told["--host"], told["--port"], told["--max-num-seqs"]) == ("127.0.0.1", "9", "7")
    assert (Path(told["--model"]) / "config.json").exists()
    assert "--weight-transfer-config" not in words


def test_weights_come_by_the_plugin_where_it_is_installed() -> None:
    words = command(a_job().spec, port=9, devices=0, has_plugin=True)

    assert words[words.index("--weight-transfer-config") + 1] == '{"backend": "safetensors_dir"}'


@pytest.mark.parametrize("devices", [0, 2])
def test_it_finds_the_routes_that_change_weights_open_and_the_hub_closed(devices: int) -> None:
    found = environment(devices)

    assert (found["VLLM_SERVER_DEV_MODE"], found["HF_HUB_OFFLINE"]) == ("1", "1")
    assert ("VLLM_CPU_KVCACHE_SPACE" in found) is (devices == 0)


def test_the_exit_code_of_one_that_ends_is_told(unused_tcp_port: int) -> None:
    with a_process("raise SystemExit(3)") as process:
        assert watch(process, f"http://127.0.0.1:{unused_tcp_port}/", QUICK) == 3


def test_one_that_has_never_answered_is_still_starting(unused_tcp_port: int) -> None:
    began = time.monotonic()
    with a_process("import time; time.sleep(1.5)") as process:
        assert watch(process, f"http://127.0.0.1:{unused_tcp_port}/", QUICK) == 0
    assert time.monotonic() - began > 2 * QUICK.patience


def test_one_that_has_answered_and_does_no_more_is_killed(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/weight_info"
    with a_process(SERVER, str(unused_tcp_port), "hang") as process:
        with pytest.raises(TrainerError, match=rf"vLLM hung: no answer at {url} for 0\.5 s\. It was killed"):
            watch(process, url, QUICK)
        assert process.wait() == -9


def test_a_front_whose_engine_is_dead_counts_as_hung(unused_tcp_port: int) -> None:
    """It goes on to answer, but with 500."""
    url = f"http://127.0.0.1:{unused_tcp_port}/weight_info"
    with (
        a_process(SERVER, str(unused_tcp_port), "fail") as process,
        pytest.raises(TrainerError, match="vLLM hung"),
    ):
        watch(process, url, QUICK)
