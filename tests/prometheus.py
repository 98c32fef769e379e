"""A real Prometheus for tests: it scrapes every half second and answers queries."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from object_store import free_ports

MISSING: Final = "Prometheus is missing: apt-get install prometheus"
Raw = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One series over time; a point is Unix seconds and a value."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Prometheus:
    """A server at `url`."""

    url: str

    def ask(self, query: str) -> list[Raw]:
        """The result of an instant query; empty while the server is not up."""
        return self._get("query", query=query)

    def lines(self, query: str, *, start: float, end: float, step: float = 1.0) -> list[Line]:
        """The result of a range query."""
        found = self._get("query_range", query=query, start=str(start), end=str(end), step=str(step))
        return [Line(it["metric"], [(at, float(value)) for at, value in it["values"]]) for it in found]

    def _get(self, route: str, **parameters: str) -> list[Raw]:
        url = f"{self.url}/api/v1/{route}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                found: list[Raw] = json.load(answer)["data"]["result"]
                return found
        except urllib.error.HTTPError as error:
            if error.code == 503:  # it is starting
                return []
            raise AssertionError(f"{parameters['query']}: {error.read().decode()}") from None
        except urllib.error.URLError:
            return []


@contextmanager
def prometheus(folder: Path, *scrapes: Raw) -> Iterator[Prometheus]:
    """A server with these scrape_configs in the new folder `folder`; skips in one line when it is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip(MISSING)
    folder.mkdir()
    rhythm = {"scrape_interval": "500ms", "scrape_timeout": "500ms"}
    (folder / "prometheus.yml").write_text(json.dumps({"global": rhythm, "scrape_configs": scrapes}))
    address = f"127.0.0.1:{free_ports(1)[0]}"
    files = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([program, *files, f"--web.listen-address={address}"], stdout=log, stderr=log) as process,
    ):
        try:
            yield Prometheus(f"http://{address}")
        finally:
            process.kill()


def scraping_run(run: Path) -> Raw:
    """Every process of `rlvr run` in the folder `run`, which may come later."""
    return {"job_name": run.name, "file_sd_configs": [{"files": [f"{run}/targets.json"], "refresh_interval": "1s"}]}


def scraping_port(name: str, port: int, **labels: str) -> Raw:
    """One process of this machine."""
    return {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}]}
