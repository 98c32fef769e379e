"""A real Prometheus scrapes a running job with the files that `rlvr run` leaves for it."""

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from e2e.running import kill_everything, start, wait_until
from rlvr_trainer.metrics import TABLE

CONFIGURATION = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: rlvr
    authorization: {{credentials_file: {run}/token}}
    file_sd_configs: [{{files: [{run}/targets.json], refresh_interval: 1s}}]
"""
ROLES = {"coordinator", "learner", "rollout", "engine", "reward"}


@contextmanager
def prometheus_watching(run: Path, folder: Path) -> Iterator[str]:
    """Base URL of a Prometheus that scrapes the run; skips in one line when it is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("Prometheus is missing: apt-get install prometheus")
    folder.mkdir()
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(run=run))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    files = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([program, *files, f"--web.listen-address={address}"], stdout=log, stderr=log) as process,
    ):
        try:
            yield f"http://{address}"
        finally:
            process.kill()


def ask(url: str, query: str) -> list[dict[str, Any]]:
    """The result of an instant query; empty while Prometheus is not up."""
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query?query={urllib.parse.quote(query)}", timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
            return found
    except urllib.error.URLError:
        return []


def test_prometheus_scrapes_every_role_and_finds_only_declared_metrics(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with prometheus_watching(run, tmp_path / "prometheus") as url:
        process = start(run, "spec.training.steps=60", "spec.data.eval.procedural.size=16")
        try:
            wait_until(lambda: {row["metric"].get("role") for row in ask(url, "up == 1")} == ROLES, seconds=60)
            wait_until(lambda: ask(url, "rlvr_learner_step > 1"), seconds=60)
            names = {row["metric"]["__name__"] for row in ask(url, '{__name__=~"rlvr_.+"}')}
        finally:
            kill_everything(run, process)
    declared = {row.name for row in TABLE}
    suffixes = ("_bucket", "_sum", "_count", "_created")
    undeclared = {name for name in names if name not in declared and not name.endswith(suffixes)}
    assert {"rlvr_learner_reward_mean", "rlvr_engine_generated_tokens_total"} <= names
    assert undeclared == set()
